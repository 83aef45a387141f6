"""``barnabas dead-letters`` beside a running worker: what failed is seen, corrected, retried and answered once."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from barnabas.cli import main
from schemas.attempt import PUT_ASIDE
from schemas.ids import turn_id_for
from schemas.tokens import TERMINAL_KINDS, TokenKind
from tests.support.checker import Published
from tests.support.deployment import Deployment, LocalWorker

Run = Callable[..., Awaitable[tuple[int, list[dict[str, Any]], str]]]


@pytest.fixture
def run(deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Give a function that runs ``barnabas dead-letters ... --json`` here: exit code, lines, stderr."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", deployment.bootstrap_servers)
    monkeypatch.setenv("BARNABAS_PREFIX", deployment.names.prefix)
    monkeypatch.setenv("BARNABAS_PARTITIONS", str(deployment.partitions))
    monkeypatch.setenv("BARNABAS_DATA_DIR", str(tmp_path / "cli"))
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, list[dict[str, Any]], str]:
        out, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(errors), pytest.raises(SystemExit) as ended:
            main(["dead-letters", *words, "--json"])
        assert isinstance(ended.value.code, int)
        return ended.value.code, [json.loads(line) for line in out.getvalue().splitlines()], errors.getvalue()

    async def made(*words: str) -> tuple[int, list[dict[str, Any]], str]:
        return await asyncio.to_thread(command, *words)

    return made


def worker_of(deployment: Deployment) -> LocalWorker:
    """A worker in the test's loop."""
    return LocalWorker(deployment, deployment.spec())


async def test_retry_with_a_known_agent_is_answered_once_however_often(deployment: Deployment, run: Run) -> None:
    """The reader sees ``failed`` of the dead letter, then a whole attempt above it; a second retry calls no model."""
    session, names = deployment.session_on(1), deployment.names
    async with worker_of(deployment) as worker:
        deployment.produce(
            names.messages, b'{"text": "fast one", "agent": "nobody", "message_id": "m1"}', session.encode()
        )
        deployment.publish(session, "fast two")
        deployment.flush()
        await worker.until_answered()
        await worker.until(deployment.dead_letters, "the dead letter")
        code, (line,), _ = await run("list", "--cause", "unknown_agent", "--since", "1h", "--session", session)
        assert code == 0
        assert (line["cause"], line["session_id"], line["message_id"]) == ("unknown_agent", session, "m1")
        position = line["position"]

        code, (shown,), _ = await run("show", position)
        assert (code, shown["topic"], shown["offset"]) == (0, names.messages, 0)

        # As it is it fails again: a new dead letter that names the first, which is off the list.
        assert (await run("retry", "--cause", "unknown_agent", "--yes"))[0] == 0
        await worker.until(lambda: len(deployment.dead_letters()) == 2, "the second dead letter")
        _, (second,), _ = await run("list")
        assert (second["retry_of"], second["message_id"]) == (position, "m1")

        for words in ([second["position"]], [second["position"], "--again"]):
            code, (done,), error = await run("retry", *words, "--agent", "assistant")
            assert (code, done["refused"]) == (0, None), error
        deployment.published.append(
            Published(session, "m1", "fast one", 1, int(done["published_to"].partition("@")[2]))
        )
        await worker.until_answered()
        await worker.until_committed()
    assert await run("list") == (0, [], "")
    resolved = (await run("list", "--include-resolved"))[1]
    assert [each["resolved"]["how"] for each in resolved] == ["retried", "retried"]
    mine = [token for token in deployment.tokens() if token.turn_id == turn_id_for(session, "m1")]
    ends = [token for token in mine if token.kind in TERMINAL_KINDS]
    assert [end.kind for end in ends] == [TokenKind.FAILED, TokenKind.FAILED, TokenKind.COMPLETED, TokenKind.COMPLETED]
    assert ends[0].attempt == ends[1].attempt == PUT_ASIDE
    assert ends[2].attempt == ends[3].attempt > PUT_ASIDE
    assert len([call for call in deployment.calls() if call.turn_id == mine[0].turn_id]) == 1
    await asyncio.to_thread(deployment.check)


async def test_retry_what_cannot_be_published_is_refused_and_dropped(deployment: Deployment, run: Run) -> None:
    """No key, garbage to amend, a record of the log; one line each, exit code 1; ``drop`` takes them off the list."""
    names = deployment.names
    async with worker_of(deployment) as worker:
        deployment.produce(names.messages, b'{"text": "fast keyless"}', None, partition=0)
        deployment.produce(names.messages, b"\xffgarbage", b"g")
        deployment.produce(names.events, b"\xffgarbage", b"e")
        deployment.flush()
        await worker.until(lambda: len(deployment.dead_letters()) == 3, "three dead letters")
        _, lines, _ = await run("list")
        places = {(line["topic"], line["cause"]): line["position"] for line in lines}

        code, refused, _ = await run("retry", "--all", "--yes", "--agent", "assistant")
        assert code == 1
        why = {line["position"]: line["refused"] for line in refused}
        assert "--key" in why[places[names.messages, "missing_key"]]
        assert "--edit" in why[places[names.messages, "undecodable"]]
        assert "only workers write" in why[places[names.events, "undecodable"]]

        keyless = places[names.messages, "missing_key"]
        session = deployment.session_on(2)
        assert (await run("retry", keyless, "--key", session))[0] == 0
        known = next(letter.message_id for letter in deployment.dead_letters() if letter.cause == "missing_key")
        deployment.published.append(Published(session, known, "fast keyless", 2, 0))
        await worker.until_answered()
    assert (await run("drop", "--all"))[0] == 1  # nobody there to confirm
    assert (await run("drop", "--cause", "undecodable", "--yes"))[0] == 0
    assert (await run("list"))[1] == []
    code, _, error = await run("retry", keyless)
    assert code == 1
    assert "--again" in error
    for words in (["show", "0:999"], ["show", "99:0"], ["show", "nonsense"], ["list", "--since", "soon"]):
        code, (line,), error = await run(*words)
        assert (code, line["event"]) == (1, "error"), words
        assert error.count("\n") == 1
    assert (await run("retry"))[0] == 2
