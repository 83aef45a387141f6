"""Names of tool calls: endpoints leave ids out, repeat them, or send them too long."""

import pytest

from schemas.events import ToolCall
from streams.steps import MAX_CALLS, MAX_ID_CHARS, _named


@pytest.mark.parametrize(
    "ids",
    [["", ""], ["a", "a"], ["call-0-1", ""], ["", "call-0-0"], ["x" * (MAX_ID_CHARS + 1), "b"], ["call-0-2", "", ""]],
)
def test_named_every_call_has_an_id_of_its_own(ids: list[str]) -> None:
    """Two calls of one id would be one call to the fold, and the second would wait for ever."""
    named = [call.call_id for call in _named(0, [ToolCall(call_id=call_id, name="t") for call_id in ids])]
    assert len(named) == len(set(named)) == len(ids)
    assert all(0 < len(call_id) <= MAX_ID_CHARS for call_id in named)


def test_named_keeps_good_ids_and_bounds_the_calls() -> None:
    """What an endpoint names well stays, in order; what is beyond the bound is dropped."""
    calls = [ToolCall(call_id=f"c{n}", name="t", arguments=f"[{n}]") for n in range(MAX_CALLS + 3)]
    assert list(_named(3, calls)) == calls[:MAX_CALLS]
