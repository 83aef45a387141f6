"""The command line. Commands import what they need when they run: ``--help`` loads typer alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from barnabas.commands import broker, context, demo, doctor, events, info, send, tail, up, worker
from schemas.errors import BarnabasError

#: Options of ``barnabas`` itself, which may stand behind the command as well.
_GLOBAL_FLAG, _GLOBAL_OPTION = "--debug", "--config"

app = typer.Typer(
    name="barnabas",
    help="An event-sourced streaming agent service on Kafka.",
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
    context.config, context.debug = config, debug


app.add_typer(broker.app, name="broker", short_help="Start and stop the embedded Kafka.")
app.command(short_help="Run a worker.")(worker.worker)
app.command(short_help="Run broker, topics and workers.")(up.up)
app.command(short_help="Hold a conversation, show its log, stop.")(demo.demo)
app.command(short_help="Send a message, print the answer.")(send.send)
app.command(short_help="Cancel a message's turn.")(send.cancel)
app.command(short_help="Print tokens as they come.")(tail.tail)
app.command(short_help="Print the event log.")(events.events)
app.command(short_help="Check the table against the log.")(doctor.doctor)
app.command(short_help="Make, verify and show the topics.")(info.topics)
app.command(short_help="Show the version.")(info.version)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0, 1 after an error that the last line explains, 2 for a wrong use."""
    words = _hoisted(list(sys.argv[1:] if arguments is None else arguments))
    try:
        app(args=words, prog_name="barnabas")
    except BarnabasError as error:
        if context.debug:
            raise
        _fail(str(error), error.code, is_json="--json" in words)
    except BrokenPipeError:  # `barnabas tail | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if context.debug:
            raise
        _fail(f"{type(error).__name__}: {error}; --debug shows the trace", "internal", is_json="--json" in words)
    sys.exit(0)


def _fail(text: str, code: str, *, is_json: bool) -> NoReturn:
    """Say what happened in one line, and exit."""
    line = " ".join(text.split())
    if is_json:
        context.print_json({"event": "error", "code": code, "message": line})
    sys.stderr.write(f"error: {line}\n")
    sys.exit(1)


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
