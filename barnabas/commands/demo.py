"""``barnabas demo``: a conversation from nothing to the log, on a real broker."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnabas.commands import context
from barnabas.commands.context import Json
from barnabas.commands.demo_shown import ToPeople, ToProgram
from barnabas.commands.up import Stopped, catch_signals

if TYPE_CHECKING:
    from barnabas.demo import Conversation, Exchange
    from barnabas.settings import Settings

SESSION = "ada"
SAYS = ("Hello! My name is Ada, and I live by the sea.", "What is my name, and where do I live?")
_SYSTEM_PROMPT = "You are Barnabas, a friendly messenger. Answer in one or two short sentences."
_ANSWER_TOKENS = 40
_PARTITIONS = 4


def demo(
    model: Annotated[str, typer.Option(help="The model that answers; local is the built-in one.")] = "local",
    *,
    as_json: Json = False,
) -> None:
    """Hold a two-message conversation on a broker of its own, show the log, and stop everything again.

    Example: barnabas demo --model echo
    """
    began = time.monotonic()
    told: ToPeople = ToProgram() if as_json else ToPeople()
    catch_signals()
    with tempfile.TemporaryDirectory(prefix="barnabas-demo-") as folder:
        try:
            _run(_isolated(Path(folder), model), told)
        except Stopped:
            context.say("stopped")
            raise typer.Exit(130) from None
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
    told.stopped(time.monotonic() - began)


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


def _run(settings: Settings, told: ToPeople) -> None:
    from barnabas.deployment import Deployment

    began = time.monotonic()
    with Deployment(settings, say=told.say) as deployment:
        told.title("1. Start")
        deployment.start()
        told.ready(settings, deployment.bootstrap_servers, time.monotonic() - began)
        _converse(settings, deployment.bootstrap_servers, told)
        told.title("5. Stop")


def _converse(settings: Settings, servers: str, told: ToPeople) -> None:
    from barnabas.demo import Conversation

    with Conversation(settings, servers, SESSION) as conversation:
        told.title("2. Two messages, answered from Kafka token by token")
        exchanges = [_exchange(conversation, text, told) for text in SAYS]
        told.title("3. What the second prompt carried, rebuilt from the log")
        _show_memory(conversation, exchanges, told)
        told.title("4. The session's partition of the event log")
        for logged in conversation.log():
            told.logged(logged)


def _exchange(conversation: Conversation, text: str, told: ToPeople) -> Exchange:
    told.asked(SESSION, text)
    exchange = conversation.say(text, told.write)
    told.answered(exchange)
    return exchange


def _show_memory(conversation: Conversation, exchanges: list[Exchange], told: ToPeople) -> None:
    from schemas.errors import BarnabasError

    prompt = conversation.prompt_of_turn(2)
    carried = [message.content for message in prompt]
    for wanted in (SAYS[0], exchanges[0].answer.text):
        if wanted not in carried:
            raise BarnabasError(f"the second prompt lacks {wanted!r}")
    told.remembered(prompt, [exchange.answer.usage.prompt_tokens for exchange in exchanges])
