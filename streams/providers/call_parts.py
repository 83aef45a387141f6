"""Tool calls that an endpoint streams in parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.events import ToolCall


@dataclass(slots=True)
class _Parts:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class CallParts:
    """Joins the parts of one answer's tool calls; an endpoint that gives no index sends each call whole."""

    def __init__(self) -> None:
        self._calls: dict[int, _Parts] = {}

    def add(self, index: int | None, *, call_id: str | None, name: str | None, arguments: str | None) -> None:
        """Take a part of call ``index``; id and name come once, the arguments in pieces."""
        parts = self._calls.setdefault(len(self._calls) if index is None else index, _Parts())
        parts.call_id = call_id or parts.call_id
        parts.name = name or parts.name
        if arguments:
            parts.arguments.append(arguments)

    def joined(self) -> tuple[ToolCall, ...]:
        """Return the calls in order."""
        return tuple(
            ToolCall(call_id=parts.call_id, name=parts.name, arguments="".join(parts.arguments) or "{}")
            for _, parts in sorted(self._calls.items())
        )
