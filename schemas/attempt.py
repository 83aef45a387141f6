"""An attempt: one run of a turn's model calls under one epoch."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field


class Attempt(Struct, frozen=True, order=True, gc=False):
    """``(epoch, try)``: a reader keeps the highest it has seen of a turn and drops the rest.

    Attributes:
        epoch: Offset of the owner's ``PartitionOpened`` in its ``events`` partition.
        number: How often this owner has begun the turn, from 0; ``try`` on the wire.
    """

    epoch: int
    number: int = field(default=0, name="try")


#: The attempt of a ``failed`` token that says that a message was put aside as a dead letter. It decides nothing: each
#: attempt of a turn is above it, so that a retried message's answer supersedes it.
PUT_ASIDE: Final = Attempt(-1, 0)
