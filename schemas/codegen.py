"""Functions written as text and compiled when a struct is first used, as dataclasses and attrs make theirs."""

from __future__ import annotations

from typing import Any

import msgspec.inspect as mi


class Source:
    """Lines of a function in the making, its names, and what it refers to."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self._lines: list[str] = []
        self._names = 0

    def name(self) -> str:
        """A new variable."""
        self._names += 1
        return f"v{self._names}"

    def bind(self, thing: Any) -> str:
        """A name in the text for an object outside of it."""
        name = f"K{len(self.scope)}"
        self.scope[name] = thing
        return name

    def line(self, depth: int, text: str) -> None:
        """One more line, indented by ``depth``."""
        self._lines.append("    " * depth + text)

    def function(self, name: str, argument: str) -> Any:
        """The function that the lines are the body of."""
        text = "\n".join([f"def {name}({argument}):", *self._lines])
        # Nothing but field names of our own structs is in the text; dataclasses and attrs do the same.
        exec(compile(text, f"<schemas.codegen {name}>", "exec"), self.scope)  # noqa: S102
        return self.scope[name]


def inner(kind: mi.UnionType) -> mi.Type:
    """What an optional type holds when it is not None."""
    [held] = [each for each in kind.types if not isinstance(each, mi.NoneType)]
    return held


def item(kind: mi.Type) -> mi.Type:
    """What a list or tuple holds; raises TypeError where Avro has no such type here."""
    if isinstance(kind, (mi.ListType, mi.VarTupleType)):
        return kind.item_type
    raise TypeError(f"no Avro for {kind}")
