"""What counts as shown."""

import pytest

from tests.support.pages.shown import is_shown

OUTPUT = "Barnabas is up.\n  Kafka    127.0.0.1:40123\n  data     /tmp/x\nCtrl-C stops it.\n"


@pytest.mark.parametrize(
    "shown",
    [
        "Barnabas is up.",
        "Kafka 127.0.0.1:9092",
        "Barnabas is up.\n…\nCtrl-C stops it.",
        "Kafka 1.2.3.4:1\ndata …",
        "…\nCtrl-C stops it.",
    ],
)
def test_lines_in_order_are_shown(shown: str) -> None:
    """Whatever their digits and spaces."""
    assert is_shown(shown, OUTPUT)


@pytest.mark.parametrize(
    "shown",
    [
        "Barnabas is",
        "Ctrl-C stops it.\n…\nBarnabas is up.",
        "Barnabas is up.\nCtrl-C stops it.",
        "Kafka 127.0.0.1:port",
        "data /tmp/…/y",
    ],
)
def test_other_lines_are_not_shown(shown: str) -> None:
    """Part of a line, another order, a line left out, another word."""
    assert not is_shown(shown, OUTPUT)
