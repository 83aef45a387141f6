"""The errors, from their tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from docs.generate.docstrings import prose
from docs.generate.markdown import code, document, table
from schemas.errors import BarnabasError

_INTRODUCTION = """\
Every error that is raised on purpose has a code. Codes are stable across versions, texts are not. They stand in `cause`
of `TurnFailed` events, `failed` tokens and dead letters, and in `code` of the `--json` output of a command that fails.
In Python all of them are subclasses of `barnabas.BarnabasError`; those that a client meets can be imported from
`barnabas`."""

#: Codes without a class of their own.
REASONS: Final = {
    "empty_text": "A message without text.",
    "internal": "An exception that nobody foresaw; the worker's log has its trace.",
    "invalid_batch_size": "`send_many` was asked for batches of less than one.",
    "invalid_deadline": "`deadline_ms` is not above 0.",
    "invalid_key": "A record's key is not UTF-8, has more than 512 bytes, or names no session.",
    "invalid_limit": "The `max_tokens` of a message's limits is not above 0.",
    "invalid_message": "What was handed to `send_many` is no message.",
    "invalid_message_id": "A `message_id` of more than 256 characters.",
    "invalid_session_id": "A session id that is empty, or has a `/` without a tenant before it.",
    "invalid_target": "A control whose target has more than 256 characters.",
    "invalid_tenant": "A tenant that is empty or has a `/`.",
    "missing_key": "A record without a key: the key is the session id.",
    "missing_target": "`cancel` was told of no message and no turn.",
    "no_target": "A control that names neither `turn_id` nor `message_id`.",
    "overloaded": "The message had waited longer than `limits.shed_lag_s`.",
    "oversized_text": "A text of more than `limits.max_text_chars` characters.",
    "turn_timeout": "The turn took longer than `limits.turn_timeout_s`, or than the message's `deadline_ms`.",
    "unknown_agent": "No agent of that name is declared.",
}


def page() -> str:
    """Return the page."""
    parts = [_INTRODUCTION]
    for family in _children(BarnabasError):
        rows = [(code(error.code), code(error.__name__), _above(error), _text(error)) for error in _below(family)]
        parts += [f"## {family.__name__}", _text(family), table(("code", "class", "a kind of", "meaning"), rows)]
    parts += [
        "## Reasons",
        "Codes that have no class of their own: of messages that got no turn, and of turns that failed.",
    ]
    parts.append(table(("code", "meaning"), [(code(reason), text) for reason, text in REASONS.items()]))
    return document("Errors", *parts)


def _below(error: type[BarnabasError]) -> Iterator[type[BarnabasError]]:
    for each in _children(error):
        yield each
        yield from _below(each)


def _children(error: type[BarnabasError]) -> list[type[BarnabasError]]:
    """Return what stands right below, in the tree's own module: others depend on what was imported."""
    return [each for each in error.__subclasses__() if each.__module__ == BarnabasError.__module__]


def _above(error: type[BarnabasError]) -> str:
    return code(error.__bases__[0].__name__)


def _text(error: type[BarnabasError]) -> str:
    return " ".join(prose(error).split())
