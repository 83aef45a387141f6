"""``barnabas demo``: a conversation from nothing to the log, on a real broker."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.up import Stopped, catch_signals

if TYPE_CHECKING:
    from barnabas.demo import Answer, Conversation, LoggedEvent
    from barnabas.settings import Settings

SESSION = "ada"
SAYS = ("Hello! My name is Ada, and I live by the sea.", "What is my name, and where do I live?")
_SYSTEM_PROMPT = "You are Barnabas, a friendly messenger. Answer in one or two short sentences."
_ANSWER_TOKENS = 40
_PARTITIONS = 4


def demo(
    model: Annotated[str, typer.Option(help="The model that answers; local is the built-in one.")] = "local",
) -> None:
    """Hold a two-message conversation on a broker of its own, show the log, and stop everything again.

    Example: barnabas demo --model echo
    """
    began = time.monotonic()
    catch_signals()
    with tempfile.TemporaryDirectory(prefix="barnabas-demo-") as folder:
        try:
            _run(_isolated(Path(folder), model))
        except Stopped:
            _say("\nstopped")
            raise typer.Exit(130) from None
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
    _say(f"\nAll stopped after {time.monotonic() - began:.1f} s. To go on: barnabas up")


def _isolated(folder: Path, model: str) -> Settings:
    """Return settings that no file and no variable of the user's deployment reaches; child processes read them, too."""
    for name in [name for name in os.environ if name.startswith("BARNABAS_") or name == "KAFKA_BOOTSTRAP_SERVERS"]:
        del os.environ[name]
    agent = {"system_prompt": _SYSTEM_PROMPT, "max_tokens": _ANSWER_TOKENS, "temperature": 0.0}
    chosen = {
        "data_dir": str(folder),
        "prefix": "demo",
        "partitions": _PARTITIONS,
        "model": model,
        "agents": {"assistant": agent},
    }
    file = folder / "barnabas.yaml"
    file.write_text(json.dumps(chosen))  # JSON is YAML
    os.environ["BARNABAS_CONFIG"], context.config = str(file), None
    return context.settings()


def _run(settings: Settings) -> None:
    from barnabas.deployment import Deployment

    began = time.monotonic()
    with Deployment(settings, say=_say) as deployment:
        _title("1. Start")
        deployment.start()
        _say(f"Kafka on {deployment.bootstrap_servers}, six topics, one worker with the model {settings.model}: "
             f"ready after {time.monotonic() - began:.1f} s")  # fmt: skip
        _converse(settings, deployment.bootstrap_servers)
        _title("5. Stop")


def _converse(settings: Settings, servers: str) -> None:
    from barnabas.demo import Conversation

    conversation = Conversation(settings, servers, SESSION)
    _title("2. Two messages, answered from Kafka token by token")
    answers = [_exchange(conversation, text) for text in SAYS]
    log = conversation.log()
    _title("3. What the second prompt carried, rebuilt from the log")
    _show_memory(conversation, log, answers)
    _title("4. The session's partition of the event log")
    _show_log(log)


def _exchange(conversation: Conversation, text: str) -> Answer:
    from schemas.errors import ProviderError

    typer.secho(f"{SESSION}       {text}", bold=True)
    _write("barnabas  ")
    answer = conversation.say(text, _write)
    if answer.outcome.kind != "completed" or answer.first_token_s is None:
        raise ProviderError(f"the turn {answer.outcome.kind}: {answer.outcome.cause}: {answer.outcome.detail}")
    _say(f"\n          (first token {answer.first_token_s * 1000:.0f} ms after the message was published, "
         f"{answer.outcome.deltas} token records)\n")  # fmt: skip
    return answer


def _show_memory(conversation: Conversation, log: list[LoggedEvent], answers: list[Answer]) -> None:
    from schemas.errors import BarnabasError

    prompt = conversation.prompt_of_turn(2, log)
    for message in prompt:
        _say(f"{message.role:<10}{message.content.strip()}")
    carried = [message.content for message in prompt]
    for wanted in (SAYS[0], answers[0].outcome.text):
        if wanted not in carried:
            raise BarnabasError(f"the second prompt lacks {wanted!r}")
    counts = [answer.outcome.usage.prompt_tokens if answer.outcome.usage else 0 for answer in answers]
    _say("\nThe first exchange is in the second prompt: folded out of the events before that turn, as in the table.")
    if all(counts):
        _say(f"The model itself counted {counts[0]} prompt tokens in the first call and {counts[1]} in the second.")


def _show_log(log: list[LoggedEvent]) -> None:
    from barnabas.commands.events import show

    for record, event in log:
        show(record, event)


def _title(text: str) -> None:
    typer.secho(f"\n{text}", fg=typer.colors.CYAN)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    _write(text + "\n")
