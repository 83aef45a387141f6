"""What a program imports from ``barnabas``."""

import re

import barnabas
from tests.support.processes import ROOT


def test_public_names_can_be_had() -> None:
    """Each is loaded when it is first asked for."""
    assert [name for name in barnabas.__all__ if not getattr(barnabas, name).__name__.endswith(name)] == []


def test_errors_named_for_clients_are_public() -> None:
    """What a reader is told to catch can be imported from where everything else is."""
    told = set(re.findall(r"`(\w+Error)`", (ROOT / "docs" / "how-to" / "python.md").read_text()))
    assert len(told) > 5
    assert told - set(barnabas.__all__) == set()
