"""The position of a partition's changelog: it moves over records of ours only."""

from __future__ import annotations

from schemas.session import Session
from state.overlay import Overlay


def test_advance_over_the_next_record_moves() -> None:
    """Our own records lie one behind the other."""
    overlay = Overlay(0, 4)

    assert overlay.advance(5) is None
    assert overlay.advance(6) is None
    assert (overlay.position, overlay.frozen) == (6, False)


def test_advance_over_a_hole_freezes_and_names_its_first_offset() -> None:
    """S2: a foreign record lies between. Mutant: ``self.position = offset`` in any case jumps over it."""
    overlay = Overlay(0, 4)
    overlay.advance(5)

    assert overlay.advance(7) == 6
    assert (overlay.position, overlay.frozen) == (5, True)


def test_advance_when_frozen_stays_and_reports_each_further_hole() -> None:
    """Frozen for the generation: the next recovery reads from there. Mutants: ``frozen`` not asked; asked first."""
    overlay = Overlay(0, 4)
    overlay.advance(7)

    assert overlay.advance(5) is None
    assert overlay.advance(8) is None
    assert overlay.advance(11) == 9
    assert overlay.position == 4


def test_advance_of_a_record_reported_twice_changes_nothing() -> None:
    """A delivery below the position is no hole. Mutant: ``<`` removed: the partition freezes for nothing."""
    overlay = Overlay(0, 4)
    overlay.advance(5)

    assert overlay.advance(5) is None
    assert (overlay.position, overlay.frozen) == (5, False)


def test_put_keeps_one_entry_a_key_with_the_newest_value() -> None:
    """Values that were overtaken before they were sent are never sent."""
    overlay = Overlay(0, -1)
    first = overlay.put(b"k", Session(session_id="k", folded=1), urgent=False)
    second = overlay.put(b"k", Session(session_id="k", folded=2), urgent=True)

    assert first is second
    assert isinstance(first.value, Session)
    assert first.value.folded == 2
    assert (list(overlay.dirty), list(overlay.urgent)) == ([b"k"], [b"k"])
