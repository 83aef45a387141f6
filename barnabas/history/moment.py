"""A place in the log as people name it: an offset, a time, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

from schemas.errors import SettingsError

#: An offset; a time; or either as text (see :meth:`Moment.of`).
At = int | datetime | timedelta | str

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO: Final = re.compile(r"-(\d+(?:\.\d+)?)([smhd])")


class Moment(NamedTuple):
    """One of the two is set.

    Attributes:
        offset: In a partition of the log.
        time_ms: Unix time in milliseconds.
    """

    offset: int | None = None
    time_ms: int | None = None

    @classmethod
    def of(cls, value: At) -> Self:
        """Take an offset, a ``datetime``, a ``timedelta`` (that long ago), or text.

        >>> Moment.of("1200"), Moment.of("2026-11-21T13:00:00Z")
        (Moment(offset=1200, time_ms=None), Moment(offset=None, time_ms=1795266000000))

        Text is an offset, an ISO 8601 time (local without a zone), or ``-90s``, ``-15m``, ``-2h``, ``-1d``.

        Raises:
            SettingsError: It is none of these.
        """
        if isinstance(value, int):
            return cls._at_offset(value)
        if isinstance(value, timedelta):
            return cls(time_ms=int((time.time() - value.total_seconds()) * 1000))
        if isinstance(value, datetime):
            return cls(time_ms=int(value.timestamp() * 1000))
        text = value.strip()
        if text.isdecimal():
            return cls._at_offset(int(text))
        if ago := _AGO.fullmatch(text):
            return cls.of(timedelta(seconds=float(ago[1]) * _UNITS[ago[2]]))
        try:
            return cls.of(datetime.fromisoformat(text))
        except ValueError:
            raise SettingsError(
                f"{text!r} is no place in the log; name an offset, a time such as 2026-11-21T13:00:00Z, "
                "or how long ago, such as -15m"
            ) from None

    @classmethod
    def _at_offset(cls, offset: int) -> Self:
        if offset < 0:
            raise SettingsError(f"{offset} is no offset; offsets begin at 0")
        return cls(offset=offset)


def clock(time_ms: int) -> str:
    """Return a time for people, in UTC, to the millisecond."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
