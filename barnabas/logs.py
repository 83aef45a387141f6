"""A worker's log: structlog on stderr, one line a record."""

from __future__ import annotations

import logging
import sys

import structlog

#: These tell at INFO what each of their inner services does.
_TALKATIVE = ("aiokafka", "faust", "mode", "kafka", "librdkafka", "asyncio")


def configure_logging(level: str, *, debug: bool = False) -> None:
    """Send every logger's records to stderr.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``; the libraries' own records from ``warning`` on.
        debug: All at ``debug``, the libraries included.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(
                    colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )
    )
    if not debug:
        handler.addFilter(_is_ours)
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


def _is_ours(record: logging.LogRecord) -> bool:
    """Leave out the starts and stops of mode's services, which it logs under our modules' names."""
    return record.levelno >= logging.WARNING or not record.getMessage().startswith("[^")
