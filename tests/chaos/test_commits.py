"""The judge sees a cancel that is done with before it was of any use."""

from __future__ import annotations

import pytest

from tests.chaos.doctored import NAMES, Doctored
from tests.chaos.judge import judge
from tests.chaos.load import Action


def _violated(run: Doctored) -> set[str]:
    return set(judge(run.evidence(cancel_kept_s=15.0)).violations)


def test_judge_cancel_committed_behind_its_outcome_is_clean() -> None:
    """The turn it was for is over."""
    run = Doctored()
    run.open()
    source = run.publish("a", mark=Action.CANCELLED)
    order = run.cancel("a")
    run.stop("a", source)
    run.commit(NAMES.control, order + 1)
    assert not _violated(run)


def test_judge_cancel_committed_before_its_outcome_reported() -> None:
    """The worker dies here, and the next one never hears of the cancel."""
    run = Doctored()
    run.open()
    source = run.publish("a", mark=Action.CANCELLED)
    order = run.cancel("a")
    run.commit(NAMES.control, order + 1)
    run.stop("a", source)
    assert _violated(run) == {"commit"}


@pytest.mark.parametrize(("age_s", "found"), [(14.9, {"commit"}), (15.1, set())])
def test_judge_cancel_that_came_early_is_kept_for_its_message(age_s: float, found: set[str]) -> None:
    """For as long as a turn may take; then nobody waits any more."""
    run = Doctored()
    run.open()
    order = run.cancel("a")
    run.commit(NAMES.control, order + 1, at=age_s)
    run.answer("a")
    assert _violated(run) == found
