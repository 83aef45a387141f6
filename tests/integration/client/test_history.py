"""Replay and time travel: what the log tells is what the table held."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barnabas import Client, LoggedEvent
from barnabas.history.index import PartitionIndex
from schemas.attempt import Attempt
from schemas.errors import HistoryLostError, SettingsError
from schemas.events import PartitionOpened, TurnCompleted, TurnStarted
from schemas.serdes import Codec
from schemas.session import Session
from state.value import ValueCodec, header_of
from tests.integration.client.conftest import client_of
from tests.support.deployment import Deployment
from tests.support.processes import BarnabasProcess, environment, run_barnabas
from tests.support.waiting import DEADLINE_S, eventually
from topics.names import TopicNames
from topics.partitioner import partition_for

CODEC = Codec()


async def values_of(deployment: Deployment, session: str) -> dict[int, Session]:
    """Return every value that the table held of a session, from its changelog, by the offset it was folded up to."""
    reader, values = deployment.reader(deployment.names.changelog), ValueCodec(CODEC)
    await asyncio.to_thread(reader.read_to_end)
    found = [record.value for record in reader.records if record.key == session.encode() and record.value]
    return {header_of(value).folded: values.decode_session(value) for value in found}


async def all_of(events: AsyncIterator[LoggedEvent]) -> list[LoggedEvent]:
    """Take them all."""
    return [event async for event in events]


async def test_session_as_it_was_three_turns_ago_is_what_the_table_held_then(
    client: Client, served: Deployment
) -> None:
    """Field by field, at each value's own offset; from Python and from the command line."""
    for number in range(6):
        await client.ask("past", f"fast {number}")
    held = await values_of(served, "past")
    assert len(held) >= 6
    for offset, value in held.items():
        assert await client.session("past", at=offset) == value
    *_, three_ago, _, _, newest = (offset for offset, value in sorted(held.items()) if value.open_turn is None)
    assert (await client.session("past")) == held[newest]
    was = await client.session("past", at=three_ago)
    assert (was.turns, was.memory[-1].text) == (3, "fast 2!")
    found = await client.diff("past", three_ago, newest)
    assert [entry.text for entry in found.added] == ["fast 3", "fast 3!", "fast 4", "fast 4!", "fast 5", "fast 5!"]
    assert (found.changed["turns"], found.removed) == ((3, 6), ())

    shown = run_cli(served, "sessions", "show", "past", "--at", str(three_ago), "--json")
    assert json.loads(shown)["turns"] == 3
    assert "fast 2!" in run_cli(served, "sessions", "show", "past", "--at", str(three_ago))
    assert "+    6 user       fast 3" in run_cli(served, "sessions", "diff", "past", str(three_ago), str(newest))


async def test_session_at_a_time_is_the_state_of_that_moment(client: Client) -> None:
    """A datetime, ISO text, or how long ago."""
    await client.ask("timed", "fast one")
    await asyncio.sleep(0.05)
    between = datetime.now(UTC)
    await asyncio.sleep(0.05)
    await client.ask("timed", "fast two")
    assert (await client.session("timed", at=between)).turns == 1
    assert (await client.session("timed", at=between.isoformat())).turns == 1
    assert (await client.session("timed", at="-1h")) == Session(session_id="timed")
    assert (await client.session("timed")).turns == 2


async def test_replay_of_a_session_and_of_its_partition_say_the_same(client: Client, served: Deployment) -> None:
    """Whole, from the middle, and across a later start: the verdicts do not depend on where one begins."""
    name = served.session_on(2, "both")
    for number in range(3):
        await client.ask(name, f"fast {number}")
    mine = await all_of(client.replay(name))
    assert [type(one.event).__name__ for one in mine] == ["TurnStarted", "TurnCompleted"] * 3
    assert all(one.is_accepted for one in mine)
    everyone = await all_of(client.replay(partition=2))
    assert [one for one in everyone if getattr(one.event, "session_id", None) == name] == mine
    assert isinstance(everyone[0].event, PartitionOpened)
    middle = mine[3].offset
    tail = await all_of(client.replay(partition=2, start=middle))
    assert tail == [one for one in everyone if one.offset >= middle]
    assert await all_of(client.replay(name, start=middle, end=mine[4].offset)) == mine[3:5]


async def test_events_of_a_session_come_without_those_of_others(client: Client, served: Deployment) -> None:
    """Found through the index: no other session's record is handed on, or decoded, or even waited for."""
    name, other = served.session_on(1, "mine"), served.session_on(1, "theirs")
    await client.ask(name, "fast one")
    await client.ask(other, "fast two")
    await client.ask(name, "fast three")
    expected = [(one.offset, type(one.event).__name__) async for one in client.events(name)]
    shown = [json.loads(line) for line in run_cli(served, "events", "--session", name, "--json").splitlines()]
    assert [(line["offset"], line["type"]) for line in shown] == expected
    assert len(expected) == 4


async def test_replay_into_a_file_on_a_terminal_is_whole(client: Client, served: Deployment) -> None:
    """Stderr is a terminal, as it is for people: its bar takes nothing of what is printed."""
    await client.ask("shown", "fast one")
    ours, its = os.openpty()
    output = served.folder / "shown.txt"
    with output.open("wb") as file:
        code = await asyncio.to_thread(
            subprocess.call,
            [sys.executable, "-m", "barnabas", "replay", "--session", "shown"],
            stdin=subprocess.DEVNULL, stdout=file, stderr=its, cwd=served.folder, timeout=60,
            env=environment(cli_env(served)),
        )  # fmt: skip
    os.close(its)
    os.close(ours)
    assert code == 0
    assert [line.split()[2] for line in output.read_text().splitlines()] == ["TurnStarted", "TurnCompleted"]


async def test_ctrl_c_ends_a_replay_that_follows(client: Client, served: Deployment) -> None:
    """At once and without a traceback."""
    await client.ask("replay-interrupted", "fast one")
    with BarnabasProcess(
        ["replay", "--session", "replay-interrupted", "--follow"],
        env=cli_env(served),
        log=served.folder / "interrupted.log",
    ) as process:
        await eventually(lambda: len(process.lines) == 2)
        process.popen.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(process.popen.wait, DEADLINE_S)
        assert code == 130
        assert "Traceback" not in process.log.read_text()


async def test_replay_follows_what_comes(client: Client, served: Deployment) -> None:
    """Until it is left."""
    await client.ask("followed", "fast one")
    events = client.replay("followed", follow=True)
    assert [type((await anext(events)).event).__name__ for _ in range(2)] == ["TurnStarted", "TurnCompleted"]
    await client.send("followed", "fast two")
    async with asyncio.timeout(DEADLINE_S):
        later = [await anext(events), await anext(events)]
    assert [one.says for one in later] == ["accepted", "accepted"]
    await events.aclose()  # type: ignore[attr-defined]


async def test_replay_that_is_left_while_it_waits_ends_at_once(client: Client) -> None:
    """A task that is cancelled; its reading thread is waited for, and the next question is answered."""
    await client.ask("replay-left", "fast one")
    seen: list[LoggedEvent] = []

    async def follow() -> None:
        async for event in client.replay("replay-left", follow=True):
            seen.append(event)  # noqa: PERF401 -- looked at while it grows

    task = asyncio.create_task(follow())
    await eventually(lambda: len(seen) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asking = asyncio.create_task(client.session("replay-left"))
    await asyncio.sleep(0)
    asking.cancel()
    assert (await client.session("replay-left")).turns == 1


async def test_replay_at_the_original_speed_keeps_the_distances(client: Client) -> None:
    """Divided by the factor."""
    await client.ask("paced", "fast one")
    await asyncio.sleep(1.0)
    await client.ask("paced", "fast two")
    loop = asyncio.get_running_loop()
    times = [loop.time() async for _ in client.replay("paced", speed="2x")]
    assert times[-1] - times[0] > 0.4


async def test_rejected_and_undecodable_records_are_shown_with_the_reason(
    kafka: str, topic_names: TopicNames, tmp_path: Path, switched_off: None
) -> None:
    """A zombie's records behind a newer opening, an outcome twice, a step without its start, garbage.

    Fails with ``BARNABAS_TEST_OFF=epochs``.
    """
    deployment = Deployment(kafka, topic_names, tmp_path, partitions=1)

    def write(record: object, key: bytes | None = b"ada") -> None:
        value = record if isinstance(record, bytes) else CODEC.encode(record)  # type: ignore[arg-type]
        deployment.produce(deployment.names.events, value, key)

    def event(kind: type, epoch: int, turn: str, **fields: object) -> object:
        ids = {"event_id": f"{kind.__name__}-{turn}-{epoch}", "session_id": "ada", "turn_id": turn, "message_id": turn}
        return kind(**ids, attempt=Attempt(epoch), source_offset=-1, occurred_at=1, **fields)

    started = {"text": "hi", "agent": "a", "model": "m"}
    completed = {"text": "ho", "deltas": 1, "decided_upto": -1}
    write(PartitionOpened(event_id="o0", owner="w1", generation=1, occurred_at=1), None)
    write(event(TurnStarted, 0, "t1", **started))
    write(PartitionOpened(event_id="o2", owner="w2", generation=2, occurred_at=1), None)
    write(event(TurnCompleted, 0, "t1", **completed))  # the zombie's
    write(event(TurnStarted, 2, "t1", **started))
    write(event(TurnCompleted, 2, "t1", **completed))
    write(event(TurnCompleted, 2, "t1", **completed))
    write(event(TurnCompleted, 2, "t2", **completed))
    write(b"garbage")
    deployment.flush()
    try:
        async with client_of(deployment) as client:
            found = await all_of(client.replay("ada"))
            assert [(one.offset, one.says) for one in found] == [
                (1, "accepted"), (3, "stale_epoch"), (4, "accepted"), (5, "accepted"), (6, "decided"), (7, "no_start"),
                (8, "undecodable"),
            ]  # fmt: skip
            for start in range(9):
                again = await all_of(client.replay("ada", start=start))
                assert again == [one for one in found if one.offset >= start]
                whole = await all_of(client.replay(partition=0, start=start))
                assert [one for one in whole if not isinstance(one.event, PartitionOpened)] == again
            session = await client.session("ada")
            assert (session.turns, session.epoch, session.folded) == (1, 2, 5)
            assert (await client.transcript("ada", "json")).count('"user"') == 1
    finally:
        deployment.close()


async def test_long_sessions_are_read_from_their_snapshots(
    kafka: str, topic_names: TopicNames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second question about a place reads a few events, whatever lies before; the answers are the same."""
    deployment = Deployment(kafka, topic_names, tmp_path, partitions=1)
    opened = PartitionOpened(event_id="o", owner="w", generation=1, occurred_at=1)
    deployment.produce(deployment.names.events, CODEC.encode(opened), None)
    for number in range(150):
        ids = {"session_id": "ada", "turn_id": f"t{number}", "message_id": f"m{number}", "attempt": Attempt(0)}
        more = {"source_offset": number, "occurred_at": number + 1}
        start = TurnStarted(event_id=f"s{number}", text="hi", agent="a", model="m", **ids, **more)
        end = TurnCompleted(event_id=f"c{number}", text="ho", deltas=1, decided_upto=number, **ids, **more)
        for event in (start, end):
            deployment.produce(deployment.names.events, CODEC.encode(event), b"ada")
            deployment.produce(deployment.names.events, CODEC.encode(opened), b"other")
    deployment.flush()
    asked: list[int] = []
    offsets = PartitionIndex.offsets

    def counted(self: PartitionIndex, key: bytes, first: int, end: int) -> list[int]:
        found = offsets(self, key, first, end)
        asked.append(len(found))
        return found

    monkeypatch.setattr(PartitionIndex, "offsets", counted)
    try:
        async with client_of(deployment) as client:
            cold = [await client.session("ada", at=at) for at in (600, 599, 300, 1, 0)]
            assert asked[0] == 300
            asked.clear()
            warm = [await client.session("ada", at=at) for at in (600, 599, 300, 1, 0)]
            assert cold == warm
            assert max(asked) < 32
            assert cold[0].turns == 150
    finally:
        deployment.close()


async def test_history_behind_the_retention_is_refused(kafka: str, topic_names: TopicNames, tmp_path: Path) -> None:
    """A fold without its beginning would be wrong, silently."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient

    deployment = Deployment(kafka, topic_names, tmp_path, partitions=1)
    for _ in range(10):
        deployment.produce(deployment.names.events, b"x", b"ada")
    deployment.flush()
    admin = AdminClient({"bootstrap.servers": kafka})
    for future in admin.delete_records([TopicPartition(deployment.names.events, 0, 5)]).values():
        await asyncio.to_thread(future.result)
    try:
        async with client_of(deployment) as client:
            with pytest.raises(HistoryLostError, match="begins at offset 5"):
                await client.session("ada")
            with pytest.raises(HistoryLostError, match="begins at offset 5"):
                await all_of(client.replay(partition=0))
        shown = run_cli(deployment, "events", "--session", "ada", "--json")  # judges nothing: it shows what is there
        assert [json.loads(line)["offset"] for line in shown.splitlines()] == [5, 6, 7, 8, 9]
    finally:
        deployment.close()


async def test_transcript_and_list(client: Client, served: Deployment) -> None:
    """Markdown for people, JSON for programs; every turn, also the failed ones."""
    await client.ask("told", "fast one")
    with pytest.raises(Exception, match="turn_timeout"):
        await client.ask("told", "hang two", deadline_ms=200)
    markdown = await client.transcript("told")
    assert markdown.startswith("# told\n\n**user**, 20")
    assert "fast one!" in markdown
    assert "(failed: turn_timeout)" in markdown
    turns = json.loads(run_cli(served, "transcript", "told", "--format", "json"))["turns"]
    assert [(turn["user"], turn["outcome"]) for turn in turns] == [("fast one", "completed"), ("hang two", "failed")]
    found = await client.sessions(100)
    assert [listed.last_ms for _, listed in found] == sorted((one.last_ms for _, one in found), reverse=True)
    partition, listed = next(one for one in found if one[1].key == b"told")
    assert (partition, listed.events) == (partition_for(b"told", served.partitions), 4)
    lines = [json.loads(line) for line in run_cli(served, "sessions", "list", "--json").splitlines()]
    assert ("told", partition, 4) in [(line["session_id"], line["partition"], line["events"]) for line in lines]
    assert len(await client.sessions(1)) == 1


async def test_export_json_lines_and_parquet(client: Client, served: Deployment, tmp_path: Path) -> None:
    """The same rows in both."""
    import pyarrow.parquet as pq

    await client.ask("exported", "fast one")
    for ending in ("jsonl", "parquet"):
        run_cli(served, "replay", "--session", "exported", "--output", str(tmp_path / f"out.{ending}"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [json.loads(row["event"]) for row in rows] == lines
    assert [(row["type"], row["verdict"], row["session_id"]) for row in rows] == [
        ("TurnStarted", "accepted", "exported"), ("TurnCompleted", "accepted", "exported"),
    ]  # fmt: skip
    assert json.loads(run_cli(served, "replay", "--session", "exported", "--json").splitlines()[0]) == lines[0]
    with pytest.raises(SettingsError, match="-15m"):
        client.replay("exported", start="yesterday")


def run_cli(deployment: Deployment, *arguments: str) -> str:
    """Run a command that succeeds; returns its stdout."""
    done = run_barnabas(*arguments, env=cli_env(deployment), cwd=deployment.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cli_env(deployment: Deployment) -> dict[str, str]:
    """Return the variables that name it."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": deployment.bootstrap_servers,
        "BARNABAS_PREFIX": deployment.names.prefix,
        "BARNABAS_DATA_DIR": str(deployment.folder / "cli"),
    }
