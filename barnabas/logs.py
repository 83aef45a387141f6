"""A worker's log: structlog on stderr, one line a record; a turn's lines name the turn."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final, Literal

import structlog

from streams.monitoring.turn_context import turn_fields

_CREDENTIALS: Final = re.compile(
    r"""bk_[a-z0-9-]{1,32}_[0-9a-f]{8,}|eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=\bbearer[ .])[^\s"',]+""", re.IGNORECASE
)
_REDACTED: Final = "********"

#: These tell at INFO what each of their inner services does.
_TALKATIVE = ("aiokafka", "faust", "mode", "kafka", "librdkafka", "asyncio")


def configure_logging(level: str, *, debug: bool = False, form: Literal["console", "json"] = "console") -> None:
    """Send every logger's records to stderr.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; the libraries' own records from ``warning`` on.
        debug: All at ``debug``, the libraries included.
        form: ``console`` for people; ``json`` for a collector: ``timestamp``, ``level``, ``logger``, ``message``, and
            of a turn's lines ``session``, ``turn``, ``message_id``, ``attempt``, ``epoch``, ``partition``.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_turn,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _RedactingFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(form)],
        )
    )
    if not debug:
        handler.addFilter(_is_ours)
    # At debug it writes down every header of a WebSocket.
    logging.getLogger("uvicorn.error").setLevel(logging.INFO if debug else logging.WARNING)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Leaves out what looks like somebody's credentials: a key in a URL, a header in a library's own record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return redacted(super().format(record))


def redacted(text: str) -> str:
    """Return a text without API keys, JSON Web Tokens and what follows ``Bearer``."""
    return _CREDENTIALS.sub(_REDACTED, text)


def _renderers(form: Literal["console", "json"]) -> list[structlog.typing.Processor]:
    if form == "console":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(default=repr),
    ]


def _name_turn(_logger: Any, _method: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**turn_fields(), **fields}


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out the starts and stops of mode's services, which it logs under our modules' names."""
    return record.levelno >= logging.WARNING or not record.getMessage().startswith("[^")
