"""A real worker process, and the commands that talk to it."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from barnabas.cli import main
from barnabas.reader import Start, TopicReader
from barnabas.stream_fold import TurnFold
from schemas.errors import BrokerError
from schemas.events import TurnCompleted
from schemas.ids import turn_id_for
from schemas.serdes import Codec
from schemas.tokens import TokenKind
from tests.support.processes import BarnabasProcess, run_barnabas, start_worker
from topics.names import TopicNames

PARTITIONS = 4


class Deployment:
    """One worker on topics of its own, shared by this module's tests: each uses a session of its own."""

    def __init__(self, kafka: str, folder: Path) -> None:
        self.kafka = kafka
        self.prefix = f"t-cli-{uuid.uuid4().hex[:8]}"
        self.names = TopicNames(self.prefix)
        self.folder = folder
        self.env = {
            "KAFKA_BOOTSTRAP_SERVERS": kafka,
            "BARNABAS_PREFIX": self.prefix,
            "BARNABAS_DATA_DIR": str(folder),
            "BARNABAS_PARTITIONS": str(PARTITIONS),
            "BARNABAS_MODEL": "echo",
        }

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command against this deployment: exit code, stdout, stderr."""
        done = run_barnabas(*arguments, env=self.env, cwd=self.folder)
        return done.returncode, done.stdout, done.stderr

    def lines(self, *arguments: str) -> list[dict[str, object]]:
        """Run a command that succeeds and return its JSON lines."""
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]


def bare_env(kafka: str, names: TopicNames) -> dict[str, str]:
    """Return the environment of a deployment without a worker."""
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka, "BARNABAS_PREFIX": names.prefix, "BARNABAS_PARTITIONS": "2"}


@pytest.fixture(scope="module")
def deployment(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a deployment whose worker is ready; it ends in order."""
    found = Deployment(kafka, tmp_path_factory.mktemp("deployment"))
    with start_worker(
        bootstrap_servers=kafka, prefix=found.prefix, data_dir=found.folder, partitions=PARTITIONS
    ) as worker:
        ready = worker.wait_ready()
        assert ready["bootstrap_servers"] == kafka
        assert ready["pid"] == worker.pid
        assert ready["data_dir"] == str(found.folder)
        yield found
        assert worker.stop() == 0, worker.tail()


def test_send_prints_the_answer(deployment: Deployment) -> None:
    """The text alone goes to stdout."""
    assert deployment.run("send", "plain", "hello there") == (0, "hello there\n", "")


def test_send_json_tells_ids_then_tokens_to_the_outcome(deployment: Deployment) -> None:
    """For scripts: place and ids first."""
    published, *tokens = deployment.lines("send", "scripted", "hello there", "--message-id", "m-1")
    assert published["event"] == "published"
    assert published["turn_id"] == turn_id_for("scripted", "m-1")
    assert [tokens[0]["kind"], tokens[-1]["kind"]] == ["started", "completed"]
    assert tokens[-1]["text"] == "hello there"
    assert {token["message_id"] for token in tokens} == {"m-1"}


def test_send_same_message_id_twice_is_one_turn(deployment: Deployment) -> None:
    """The second answer is the first one's, and no model is called for it."""
    first = deployment.run("send", "twice", "once only", "--message-id", "m-2")
    assert first == deployment.run("send", "twice", "once only", "--message-id", "m-2") == (0, "once only\n", "")
    events = deployment.lines("events", "--session", "twice")
    assert [event["type"] for event in events] == ["TurnStarted", "TurnCompleted"]


def test_send_unknown_agent_is_exit_code_1_with_the_cause(deployment: Deployment) -> None:
    """A message that cannot be answered."""
    code, out, err = deployment.run("send", "lost", "hello", "--agent", "nobody")
    assert (code, out) == (1, "")
    assert err.startswith("failed: unknown_agent: ")


def test_send_no_wait_returns_once_confirmed(deployment: Deployment) -> None:
    """Fire, and read later."""
    (published,) = deployment.lines("send", "later", "hello", "--no-wait")
    with TopicReader(deployment.kafka, deployment.names.messages, start=Start.BEGINNING) as reader:
        places = [(record.partition, record.offset) for record in reader.until_end()]
    assert (published["partition"], published["offset"]) in places


def test_send_with_a_tenant_uses_its_key(deployment: Deployment) -> None:
    """Sessions of two tenants never meet."""
    published, *_ = deployment.lines("send", "s", "hello", "--tenant", "acme")
    assert published["session_id"] == "acme/s"
    assert deployment.lines("events", "--session", "s", "--tenant", "acme")
    assert not deployment.lines("events", "--session", "s")


def test_events_are_typed_and_in_order(deployment: Deployment) -> None:
    """Two turns of one session, for people and for scripts."""
    for text in ("one", "two"):
        deployment.run("send", "ordered", text)
    events = deployment.lines("events", "--session", "ordered")
    assert [event["type"] for event in events] == ["TurnStarted", "TurnCompleted"] * 2
    assert [event["text"] for event in events] == ["one", "one", "two", "two"]
    assert sorted(event["offset"] for event in events) == [event["offset"] for event in events]
    _, out, _ = deployment.run("events", "--session", "ordered")
    assert [line.split()[2] for line in out.splitlines()] == ["TurnStarted", "TurnCompleted"] * 2


def test_tail_from_beginning_shows_token_records(deployment: Deployment) -> None:
    """With their place, attempt and index."""
    deployment.run("send", "tailed", "hello there")
    tokens = deployment.lines("tail", "--session", "tailed", "--from-beginning", "--no-follow")
    assert [token["index"] for token in tokens] == list(range(len(tokens)))
    assert tokens[-1]["kind"] == "completed"
    assert tokens[-1]["partition"] == tokens[0]["partition"]
    rest = deployment.lines("tail", "--session", "tailed", "--after", tokens[1]["cursor"], "--no-follow")
    assert rest == tokens[2:]


def test_tail_follows_what_comes(deployment: Deployment) -> None:
    """Until it is ended from outside."""
    arguments = ("tail", "--session", "followed", "--from-beginning", "--json")
    with BarnabasProcess(arguments, env=deployment.env, log=deployment.folder / "tail.log") as tail:
        deployment.run("send", "followed", "hello there")
        deadline = 200
        while not any('"completed"' in line for line in tail.lines):
            deadline -= 1
            assert deadline, tail.tail()
            tail._reader.join(0.1)


def test_cancel_of_a_finished_message_is_harmless(deployment: Deployment) -> None:
    """A no-op by design."""
    deployment.run("send", "over", "hello", "--message-id", "m-3")
    assert deployment.run("cancel", "over", "m-3")[0] == 0
    assert deployment.run("send", "over", "still there")[:2] == (0, "still there\n")


def test_plain_producer_with_its_default_partitioner_gets_tokens_and_outcome(deployment: Deployment) -> None:
    """The least that works from any client: a key and {"text": ...}; CRC32 puts most keys on the wrong partition."""
    sessions = [f"plain-{number}" for number in range(8)]
    codec = Codec()
    with TopicReader(deployment.kafka, deployment.names.tokens, start=Start.END) as reader:
        producer = Producer({"bootstrap.servers": deployment.kafka})
        for session in sessions:
            producer.produce(deployment.names.messages, b'{"text": "hello"}', key=session)
        assert producer.flush(20) == 0
        turns: dict[str, TurnFold] = {session: TurnFold() for session in sessions}
        for record in reader.forever(30):
            token = codec.decode_token(record.value, topic="t", partition=record.partition, offset=record.offset)
            if token.session_id in turns:
                turns[token.session_id].apply(token)
            if all(turn.outcome for turn in turns.values()):
                break
    for turn in turns.values():
        assert turn.outcome is not None
        assert (turn.outcome.kind, turn.text) == (TokenKind.COMPLETED, "hello")
    with TopicReader(deployment.kafka, deployment.names.events, start=Start.BEGINNING) as reader:
        outcomes = [
            event.session_id
            for record in reader.until_end()
            if isinstance(
                event := codec.decode_event(record.value, topic="e", partition=record.partition, offset=record.offset),
                TurnCompleted,
            )
        ]
    assert sorted(outcome for outcome in outcomes if outcome in turns) == sessions


def test_topics_shows_six(deployment: Deployment) -> None:
    """Made by the worker."""
    topics = deployment.lines("topics")
    assert [topic["name"] for topic in topics] == list(deployment.names.all)
    assert not any(topic["was_created"] for topic in topics)


def test_doctor_finds_nothing(deployment: Deployment) -> None:
    """Table, changelog and log are the same."""
    deployment.run("send", "healthy", "hello")
    (report,) = deployment.lines("doctor")
    assert report["is_clean"] is True
    assert deployment.run("doctor")[0] == 0


def test_wrong_partition_count_is_refused_in_one_line(deployment: Deployment) -> None:
    """Reading the wrong partition would show nothing; publishing to it would lose the order."""
    env = {**deployment.env, "BARNABAS_PARTITIONS": "5"}
    for command in (("tail",), ("send", "a", "b"), ("worker",)):
        done = run_barnabas(*command, env=env, cwd=deployment.folder)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("error: ")
        assert "partitions" in done.stderr


def test_partition_count_is_found_where_it_is_not_set(deployment: Deployment) -> None:
    """As send and replay find it: only what makes topics has to be told."""
    env = {name: value for name, value in deployment.env.items() if name != "BARNABAS_PARTITIONS"}
    assert run_barnabas("send", "counted", "hello", env=env, cwd=deployment.folder).returncode == 0
    for command in ("tail --no-follow", "events --session counted", "doctor --partition 3", "dead-letters list"):
        done = run_barnabas(*command.split(), "--json", env=env, cwd=deployment.folder)
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout or command.startswith(("tail", "dead-letters"))


def test_partition_that_is_not_there_is_refused_by_doctor(deployment: Deployment) -> None:
    """By the number the topics have, with the exit code of what could not be checked."""
    code, _, err = deployment.run("doctor", "--partition", str(PARTITIONS))
    assert (code, err.count("\n")) == (3, 1)
    assert f"there are 0 to {PARTITIONS - 1}" in err


def test_tail_after_a_cursor_goes_on_behind_it(deployment: Deployment) -> None:
    """The one that send printed: nothing is missed; one of another partition, or of what is not there, is refused."""
    published, *tokens = deployment.lines("send", "resumed", "hello there")
    cursor, partition = str(published["cursor"]), published["partition"]
    found = deployment.lines("tail", "--session", "resumed", "--after", cursor, "--no-follow")
    assert [token["event_id"] for token in found if "event_id" in token] == [
        token["event_id"] for token in tokens if "event_id" in token
    ]
    assert [token["kind"] for token in found] == [token["kind"] for token in tokens]
    last = f"{partition}:{found[-1]['offset']}:0"
    assert not deployment.lines("tail", "--session", "resumed", "--after", last, "--no-follow")
    for wrong in (f"{(int(str(partition)) + 1) % PARTITIONS}:0:0", f"{partition}:900000:0"):
        code, _, err = deployment.run("tail", "--session", "resumed", "--after", wrong, "--no-follow")
        assert (code, err.count("\n")) == (1, 1)
        assert wrong in err


def test_tail_after_a_cursor_whose_records_are_gone_says_where_to_begin(kafka: str, topic_names: TopicNames) -> None:
    """Instead of leaving them out without a word."""
    run_barnabas("topics", env=(env := bare_env(kafka, topic_names)))
    place = TopicPartition(topic_names.tokens, 0, 2)
    producer = Producer({"bootstrap.servers": kafka})
    for _ in range(3):
        producer.produce(topic_names.tokens, b"{}", partition=0)
    assert producer.flush(20) == 0
    admin = AdminClient({"bootstrap.servers": kafka})
    for deleted in admin.delete_records([place]).values():
        deleted.result(20)
    done = run_barnabas("tail", "--after", "0:0:0", "--no-follow", "--json", env=env)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] == "cursor_expired"
    assert "0:1:-1" in done.stderr
    assert len(run_barnabas("tail", "--after", "0:1:-1", "--no-follow", "--json", env=env).stdout.splitlines()) == 1


def test_send_without_a_worker_says_so_and_where_to_go_on(
    kafka: str, topic_names: TopicNames, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Soon, not at the time-out; and that one names the cursor."""
    monkeypatch.setattr("barnabas.commands.printing.HINT_S", 0.2)
    for name, value in bare_env(kafka, topic_names).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["topics"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["send", "ada", "anybody there?", "--timeout", "2"])
    hint, error = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert hint == "nobody answers yet; is a worker running?"
    assert re.search(r"go on from cursor \d+:-1:-1$", error)


def test_transcript_speaks_json(deployment: Deployment) -> None:
    """As every other reading command does; --format json is the same."""
    deployment.run("send", "told", "hello there")
    code, out, _ = deployment.run("transcript", "told", "--json")
    assert (code, out) == deployment.run("transcript", "told", "--format", "json")[:2]
    assert "hello there" in json.dumps(json.loads(out))


def test_unknown_topic_is_refused_in_one_line(deployment: Deployment) -> None:
    """A prefix that nobody uses."""
    done = run_barnabas("tail", env={**deployment.env, "BARNABAS_PREFIX": "nobody"}, cwd=deployment.folder)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no topic nobody." in done.stderr


def test_worker_with_a_name_in_use_is_refused(deployment: Deployment) -> None:
    """Two processes never share a data folder."""
    env = {**deployment.env, "BARNABAS_LOG_LEVEL": "error"}
    done = run_barnabas("worker", "--name", "worker-1", env=env, cwd=deployment.folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("give this one another --name")


def test_reader_without_a_broker_says_so(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence, after its time-out."""
    monkeypatch.setattr("barnabas.reader._TIMEOUT_S", 1.0)
    with pytest.raises(BrokerError, match="is it running"):
        TopicReader("127.0.0.1:1", deployment.names.tokens)
