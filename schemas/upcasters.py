"""Lifts a record that was written with an older schema to the current one, step by step.

A field that was added with a default needs nothing here: it is absent, and the struct's default stands. A renamed
or retyped field, or one whose meaning changed, needs a function from the old record's fields to the next
schema's::

    @UPCASTERS.register("TurnStarted", "6c1f6cf52c0e4e06", "1b5d7a36f5b8aa44")
    def _name_the_agent(fields: Fields) -> Fields:
        return {**fields, "agent": fields.pop("assistant")}

The two numbers are fingerprints as in the file names of ``avro/history``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Fields = dict[str, Any]
Upcaster = Callable[[Fields], Fields]


class Upcasters:
    """Upcasters by record type and the fingerprint (16 hex digits) they start from."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], tuple[str, Upcaster]] = {}

    def register(self, name: str, from_fingerprint: str, to_fingerprint: str) -> Callable[[Upcaster], Upcaster]:
        """Decorates a function that lifts a record's fields from one schema to a newer one.

        Raises:
            ValueError: There is one from that schema already, or this one closes a circle.
        """
        key = (name, from_fingerprint)
        if key in self._steps:
            raise ValueError(f"{name} already has an upcaster from {from_fingerprint}")
        reached = to_fingerprint
        while reached != from_fingerprint and (name, reached) in self._steps:
            reached, _ = self._steps[name, reached]
        if reached == from_fingerprint:
            raise ValueError(f"upcasters of {name} go round in a circle through {from_fingerprint}")

        def add(function: Upcaster) -> Upcaster:
            self._steps[key] = (to_fingerprint, function)
            return function

        return add

    def path(self, name: str, fingerprint: str) -> tuple[Upcaster, ...]:
        """The functions, in order, from that schema to the newest; empty where none is needed."""
        functions = []
        while step := self._steps.get((name, fingerprint)):
            fingerprint, function = step
            functions.append(function)
        return tuple(functions)

    def starts(self) -> list[tuple[str, str]]:
        """Type and fingerprint of every schema that has an upcaster."""
        return list(self._steps)


#: Those of this version.
UPCASTERS = Upcasters()
