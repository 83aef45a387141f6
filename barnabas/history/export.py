"""Writes replayed events to a file: JSON Lines, or Parquet where pyarrow is there."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec

from barnabas.history.logged_event import LoggedEvent
from schemas.errors import SettingsError

_ROWS: Final = 10_000
_COLUMNS: Final = ("session_id", "turn_id", "message_id", "event_id", "occurred_at")


class EventWriter(Protocol):
    """Takes events; a context manager that completes the file."""

    def write(self, event: LoggedEvent) -> None:
        """Add an event."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_writer(path: Path) -> EventWriter:
    """Open a file by its ending, ``.jsonl`` or ``.parquet``.

    Raises:
        SettingsError: Another ending, no pyarrow, or a file that cannot be written.
    """
    try:
        match path.suffix:
            case ".jsonl":
                return JsonLines(path)
            case ".parquet":
                return Parquet(path)
    except OSError as error:
        raise SettingsError(f"--output: {path} cannot be written: {error.strerror}") from error
    raise SettingsError(f"--output: {path.name} ends neither in .jsonl nor in .parquet; name it so")


class JsonLines:
    """One JSON object a line: place, verdict, then the event's own fields."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, event: LoggedEvent) -> None:
        """Add an event."""
        self._file.write(msgspec.json.encode(event.fields()) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Parquet:
    """Columns for place, verdict, type and ids; the whole event as JSON in ``event``."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise SettingsError(
                "Parquet needs pyarrow, which is not installed: pip install 'barnabas[parquet]'"
            ) from error
        self._pa = pa
        text, long = pa.string(), pa.int64()
        self._schema = pa.schema(
            [
                ("partition", pa.int32()),
                ("offset", long),
                ("timestamp", pa.timestamp("ms", tz="UTC")),
                ("verdict", text),
                ("type", text),
                ("session_id", text),
                ("turn_id", text),
                ("message_id", text),
                ("event_id", text),
                ("occurred_at", pa.timestamp("ms", tz="UTC")),
                ("event", text),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, event: LoggedEvent) -> None:
        """Add an event."""
        fields = event.fields()
        self._rows.append(
            {
                "partition": event.partition,
                "offset": event.offset,
                "timestamp": event.timestamp_ms,
                "verdict": event.says,
                "type": fields.get("type"),
                **{name: fields.get(name) for name in _COLUMNS},
                "event": msgspec.json.encode(fields).decode(),
            }
        )
        if len(self._rows) == _ROWS:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []
