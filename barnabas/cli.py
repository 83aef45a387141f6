"""The command line. Commands import what they need when they run: ``--help`` loads typer alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from barnabas.commands import (
    broker,
    chat,
    context,
    dead_letters,
    demo,
    doctor,
    erase,
    events,
    gateway,
    info,
    keys,
    replay,
    send,
    sessions,
    tail,
    topics,
    transcript,
    up,
    worker,
)
from barnabas.commands import config as config_commands
from schemas.errors import BarnabasError

#: Options of ``barnabas`` itself, which may stand behind the command as well.
_GLOBAL_FLAG, _GLOBAL_OPTION = "--debug", "--config"

#: What every wrong use raises; typer exports only its heir.
_UsageError: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")

app = typer.Typer(
    name="barnabas",
    help="An event-sourced streaming agent service on Kafka.\n\nExample: barnabas up --workers 2",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich formats help 75 ms later
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _barnabas(
    config: Annotated[
        str | None, typer.Option(help="Settings file; else BARNABAS_CONFIG, else ./barnabas.yaml.")
    ] = None,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show traces and the libraries' own logs.")] = False,
) -> None:
    context.config, context.debug, context.failure_code = config, debug, context.FAILED


app.add_typer(broker.app, name="broker", short_help="Start and stop the embedded Kafka.")
app.add_typer(config_commands.app, name="config", short_help="Show and check the settings.")
app.command(short_help="Run a worker.")(worker.worker)
app.command(short_help="Serve HTTP.")(gateway.gateway)
app.command(short_help="Run broker, topics, workers and gateway.")(up.up)
app.command(short_help="Hold a conversation, show its log, stop.")(demo.demo)
app.command(short_help="Talk to an agent.")(chat.chat)
app.command(short_help="Send a message, print the answer.")(send.send)
app.command(short_help="Cancel a message's turn.")(send.cancel)
app.command(short_help="Have a session forget.")(erase.erase)
app.command(short_help="Print tokens as they come.")(tail.tail)
app.command(short_help="Print the event log.")(events.events)
app.add_typer(dead_letters.app, name="dead-letters", short_help="See, retry and drop what could not be handled.")
app.command(short_help="Replay events, each with its verdict.")(replay.replay)
app.add_typer(sessions.app, name="sessions", short_help="Look at sessions, now and then.")
app.command(short_help="Print a session's conversation.")(transcript.transcript)
app.command(short_help="Check the table against the log.")(doctor.doctor)
app.add_typer(keys.app, name="keys", short_help="Make and check API keys of the gateway.")
app.add_typer(topics.app, name="topics", short_help="Make, verify and show the topics; what Kafka has to allow.")
app.command(short_help="Show the version.")(info.version)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    0; 1 after an error that the last line explains, or where a turn has no answer; 2 for a wrong use; 3 where
    ``doctor`` could not check; 130 after Ctrl-C.
    """
    words = _hoisted(list(sys.argv[1:] if arguments is None else arguments))
    is_json = "--json" in words
    try:
        sys.exit(app(args=words, prog_name="barnabas", standalone_mode=False) or 0)
    except BarnabasError as error:
        if context.debug:
            raise
        _fail(str(error), error.code, is_json=is_json)
    except _UsageError as error:
        _fail_use(error, is_json=is_json)
    except typer.Abort:  # Ctrl-C at a question
        sys.exit(130)
    except BrokenPipeError:  # `barnabas tail | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if context.debug:
            raise
        _fail(f"{type(error).__name__}: {error}; --debug shows the trace", "internal", is_json=is_json)


def _fail_use(error: Any, *, is_json: bool) -> NoReturn:
    """Say how a command is to be used in one line; a group without a command shows its help."""
    text = error.format_message()
    if "\n" in text:
        sys.stderr.write(f"{text}\n")
        sys.exit(2)
    command = error.ctx.command_path if error.ctx is not None else "barnabas"
    context.failure_code = 2
    _fail(f"{text.removesuffix('.')}; see: {command} --help", "usage", is_json=is_json)


def _fail(text: str, code: str, *, is_json: bool) -> NoReturn:
    """Say what happened in one line, and exit."""
    line = " ".join(text.split())
    if is_json:
        context.print_json({"event": "error", "code": code, "message": line})
    sys.stderr.write(f"error: {line}\n")
    sys.exit(context.failure_code)


def _hoisted(words: list[str]) -> list[str]:
    """Move the global options to the front: people write them last. Nothing behind ``--`` is touched."""
    end = words.index("--") if "--" in words else len(words)
    head, tail = words[:end], words[end:]
    options: list[str] = []
    rest: list[str] = []
    while head:
        word = head.pop(0)
        if word == _GLOBAL_FLAG or word.startswith(f"{_GLOBAL_OPTION}="):
            options.append(word)
        elif word == _GLOBAL_OPTION and head:
            options += [word, head.pop(0)]
        else:
            rest.append(word)
    return [*options, *rest, *tail]
