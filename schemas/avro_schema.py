"""Makes the ``.avsc`` files from the structs, so that types and schemas cannot disagree.

``python -m schemas.avro_schema`` names the files that differ (exit code 1); ``--write`` rewrites them, and moves
a schema whose canonical form changed to ``avro/history/``, where old records find it for ever (``--unreleased``
drops it instead: no record of it was ever kept). A renamed or retyped field then needs an upcaster.

An enum is an Avro string: a new member leaves the schema, and its fingerprint, as they are.
"""

from __future__ import annotations

import inspect as pyinspect
import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import msgspec.inspect as mi
from msgspec import NODEFAULT, Struct

from schemas.known_schemas import AVRO_DIR, fingerprint_of
from schemas.record_types import NAMESPACE, RECORDS

HISTORY_DIR = AVRO_DIR / "history"

#: Kafka's own 32-bit numbers, and a count that restarts with each owner; every other integer is a long.
_INT_FIELDS = {
    ("Attempt", "try"),
    ("DeadLetter", "partition"),
    ("DeadLetterResolved", "partition"),
    ("PartitionState", "partition"),
}

_PRIMITIVES: dict[type[mi.Type], str] = {
    mi.StrType: "string",
    mi.BytesType: "bytes",
    mi.BoolType: "boolean",
    mi.IntType: "long",
    mi.EnumType: "string",
}


def schema_of(cls: type[Struct]) -> dict[str, Any]:
    """The self-contained Avro schema of a struct, documented from its docstrings.

    Raises:
        TypeError: A field's type has no Avro counterpart here.
    """
    schema = _record(mi.type_info(cls), set())
    if not isinstance(schema, dict):
        raise TypeError(f"{cls.__name__} is no record")
    return {"type": "record", "name": schema["name"], "namespace": NAMESPACE, **schema}


def _record(info: mi.Type, seen: set[str]) -> dict[str, Any] | str:
    """A record's schema where it is first met, its name from then on."""
    if not isinstance(info, mi.StructType):
        raise TypeError(f"{info} is no struct")
    name = info.cls.__name__
    if name in seen:
        return name
    seen.add(name)
    summary, docs = _docs(info.cls)
    fields = [_field(name, field, docs, seen) for field in info.fields]
    return {"type": "record", "name": name, "doc": summary, "fields": fields}


def _field(record: str, field: mi.Field, docs: dict[str, str], seen: set[str]) -> dict[str, Any]:
    avro: dict[str, Any] = {"name": field.encode_name, "type": _avro(field.type, seen)}
    if (record, field.encode_name) in _INT_FIELDS:
        avro["type"] = "int"
    if field.name in docs:
        avro["doc"] = docs[field.name]
    if field.default is not NODEFAULT:
        avro["default"] = _plain_default(field.default)
    elif field.default_factory is not NODEFAULT:
        avro["default"] = _plain_default(field.default_factory())
    return avro


def _plain_default(value: Any) -> Any:
    """A default as JSON has it: an empty tuple is a list there."""
    return json.loads(msgspec.json.encode(value))


def _avro(info: mi.Type, seen: set[str]) -> Any:
    if isinstance(info, mi.StructType):
        return _record(info, seen)
    if isinstance(info, mi.UnionType):
        [inner] = [kind for kind in info.types if not isinstance(kind, mi.NoneType)]
        return ["null", _avro(inner, seen)]
    if isinstance(info, mi.DictType):
        return {"type": "map", "values": _avro(info.value_type, seen)}
    if isinstance(info, (mi.ListType, mi.VarTupleType)):
        return {"type": "array", "items": _avro(info.item_type, seen)}
    if type(info) in _PRIMITIVES:
        return _PRIMITIVES[type(info)]
    raise TypeError(f"no Avro type for {info}")


def _docs(cls: type[Struct]) -> tuple[str, dict[str, str]]:
    """The docstring's first line, and the text of each attribute, inherited ones included."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        text = pyinspect.cleandoc(base.__doc__ or "") if issubclass(base, Struct) else ""
        _, _, attributes = text.partition("Attributes:\n")
        for match in re.finditer(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", attributes, re.MULTILINE):
            docs[match[1]] = _plain(match[2])
    first, _, _ = pyinspect.cleandoc(cls.__doc__ or "").partition("\n")
    return _plain(first), docs


def _plain(text: str) -> str:
    """Docstring mark-up is of no use to a reader of the schema."""
    return re.sub(r":\w+:`(.+?)`|``(.+?)``", lambda m: m[1] or m[2], " ".join(text.split())).replace("**", "")


def text_of(cls: type[Struct]) -> str:
    """What a struct's ``.avsc`` file holds."""
    return json.dumps(schema_of(cls), indent=2, ensure_ascii=False) + "\n"


def stale() -> list[type[Struct]]:
    """The structs whose ``.avsc`` file is missing or says something else."""
    return [cls for cls in RECORDS.values() if not _path(cls).exists() or _path(cls).read_text("utf-8") != text_of(cls)]


def _path(cls: type[Struct]) -> Path:
    return AVRO_DIR / f"{cls.__name__}.avsc"


def write(*, keep_old: bool = True) -> list[Path]:
    """Rewrites what is stale; ``keep_old`` moves a schema whose canonical form changed to the history."""
    written = []
    for cls in stale():
        path = _path(cls)
        if keep_old and path.exists():
            old = path.read_text("utf-8")
            fingerprint = fingerprint_of(json.loads(old))
            if fingerprint != fingerprint_of(schema_of(cls)):
                HISTORY_DIR.mkdir(exist_ok=True)
                (HISTORY_DIR / f"{cls.__name__}.{fingerprint.hex()}.avsc").write_text(old, "utf-8")
        path.write_text(text_of(cls), "utf-8")
        written.append(path)
    return written


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    import argparse

    parser = argparse.ArgumentParser(prog="python -m schemas.avro_schema", description="structs to .avsc files")
    parser.add_argument("--write", action="store_true", help="rewrite the files that differ")
    parser.add_argument("--unreleased", action="store_true", help="do not keep a replaced schema in avro/history")
    options = parser.parse_args(argv)
    if options.write:
        for path in write(keep_old=not options.unreleased):
            sys.stdout.write(f"wrote {path}\n")
        return 0
    for cls in stale():
        sys.stdout.write(f"stale: {_path(cls)} (run with --write)\n")
    return 1 if stale() else 0


if __name__ == "__main__":
    sys.exit(main())
