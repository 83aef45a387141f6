"""How fresh what was read is."""

from __future__ import annotations

from typing import Literal, Self

from msgspec import Struct

from streams.reading.views import Standing


class Freshness(Struct, frozen=True, kw_only=True):
    """Where an answer comes from, and up to where it has seen the log.

    Attributes:
        source: ``owner``: the table of the worker that owns the partition. ``log``: events folded by the gateway.
        partition: The partition.
        folded: Every event before this offset is in the answer.
        end: End of the partition's events when it was made, as far as its maker knew.
        lag: Offsets between the two.
    """

    source: Literal["owner", "log"]
    partition: int
    folded: int
    end: int
    lag: int

    @classmethod
    def of_owner(cls, standing: Standing) -> Self:
        """Return that of a worker's answer."""
        folded, end = standing.folded, standing.end
        return cls(source="owner", partition=standing.partition, folded=folded, end=end, lag=end - folded)

    @classmethod
    def of_log(cls, partition: int, folded: int, end: int) -> Self:
        """Return that of events that were folded here."""
        return cls(source="log", partition=partition, folded=folded, end=end, lag=max(0, end - folded))

    def header(self) -> str:
        """Return it as a header's value (RFC 8941), for answers that are no JSON."""
        return f"source={self.source}, partition={self.partition}, folded={self.folded}, end={self.end}, lag={self.lag}"
