"""The short form of what is run by hand: ``python -m tests.soak mix --duration 300``, ``... stress --agents 20``."""

import pytest

from tests.soak.finding import SoakReport
from tests.soak.mix import REALISTIC, STRESS, Mix, run_mix
from tests.soak.pace import Pace
from tests.support.deployment import Deployment


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "mix"), [("mix", REALISTIC), ("stress", STRESS)])
async def test_mix_short_every_message_has_its_outcome(deployment: Deployment, name: str, mix: Mix) -> None:
    """A few seconds of it: nobody waits in vain, only who cancels is cancelled, and handles return."""
    report = SoakReport(await run_mix(deployment, mix, Pace(3.0, lambda _what, _part: None), name=name, seed=1))
    report.assert_clean()
    assert {finding.what for finding in report.findings} >= {f"{name}: answers", f"{name}: resident memory"}
