"""``up``'s patience, without a process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from barnabas import deployment
from barnabas.settings import Settings
from schemas.errors import OperatorError
from streams.options import Limits


class NeverReady:
    """A worker that recovers for ever."""

    pid = 1

    def __init__(self, *_args: object) -> None:
        self.log = Path("worker-1.log")

    def poll_ready(self) -> bool:
        """It is not."""
        return False


@pytest.mark.parametrize("recovery_timeout_s", [300.0, 900.0])
def test_up_waits_longer_than_a_recovery_may_take(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recovery_timeout_s: float
) -> None:
    """A worker gives up by itself before ``up`` does, and says why. Mutant: the wait is a constant."""
    now = 0.0

    def sleep(_seconds: float) -> None:
        nonlocal now
        now += 1.0

    monkeypatch.setattr(deployment, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    monkeypatch.setattr(deployment, "ServiceProcess", NeverReady)
    for name in ("build_agents", "ensure_topics"):
        monkeypatch.setattr(deployment, name, _does_nothing)
    limits = Limits(recovery_timeout_s=recovery_timeout_s)
    settings = Settings(bootstrap_servers="localhost:1", data_dir=tmp_path, limits=limits)

    with pytest.raises(OperatorError, match=f"not ready after {recovery_timeout_s + 60:g} s; look at worker-1.log"):
        deployment.Deployment(settings).start()
    assert recovery_timeout_s + 60 < now < recovery_timeout_s + 70


def _does_nothing(*_args: Any, **_options: Any) -> None:
    pass
