"""What a delivery report means to whoever publishes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from barnabas import publishing
from barnabas.publishing import MessagePublisher, Outgoing, Published
from schemas.errors import BrokerError

_RECORD = Outgoing("messages", 2, b"ada", b"{}", [])


class _ReportingProducer:
    """Reports each record delivered, at an offset or at none."""

    def __init__(self, offset: int | None) -> None:
        self._offset = offset
        self._reports: list[Callable[[Any, Any], None]] = []

    def produce(self, _topic: str, _value: bytes, _key: bytes, _partition: int, report: Any, headers: Any) -> None:
        """Keep the report for later."""
        self._reports.append(report)

    def poll(self, _timeout_s: float) -> None:
        """Make the reports."""
        reports, self._reports = self._reports, []
        for report in reports:
            report(None, SimpleNamespace(offset=lambda: self._offset))


@pytest.mark.parametrize("offset", [0, 7])
def test_delivery_says_where_the_record_lies(monkeypatch: pytest.MonkeyPatch, offset: int) -> None:
    """Also at the beginning of a log."""
    monkeypatch.setattr(publishing, "Producer", lambda _config: _ReportingProducer(offset))
    assert MessagePublisher("127.0.0.1:9").write([_RECORD]) == [Published("messages", 2, offset)]


def test_delivery_without_an_offset_is_no_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a record may be in no log: whoever sent it is told to send it again.

    Mutant: ``report`` without the look at the offset: the record lies at 0, it says.
    """
    monkeypatch.setattr(publishing, "Producer", lambda _config: _ReportingProducer(None))
    with pytest.raises(BrokerError, match="did not confirm"):
        MessagePublisher("127.0.0.1:9").write([_RECORD])
