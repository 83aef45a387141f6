"""Records to test with: a strategy for any struct, and two fixed samples of each type."""

from typing import Any

import msgspec
import msgspec.inspect as mi
from hypothesis import strategies as st
from msgspec import Struct

from schemas.record_types import RECORDS

LONG = st.integers(-(1 << 63), (1 << 63) - 1)
_INT = st.integers(-(1 << 31), (1 << 31) - 1)


def records() -> st.SearchStrategy[Any]:
    """A record of any type, with any values its schema can hold."""
    return st.sampled_from(list(RECORDS.values())).flatmap(strategy_for)


def strategy_for(cls: type[Struct]) -> st.SearchStrategy[Any]:
    """Structs of one type."""
    return _strategy(mi.type_info(cls))


def _strategy(kind: mi.Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one case a type
    match kind:
        case mi.StructType():
            fields = {field.name: _strategy(field.type) for field in kind.fields}
            return st.builds(kind.cls, **fields)
        case mi.UnionType():
            return st.one_of([_strategy(each) for each in kind.types])
        case mi.DictType():
            return st.dictionaries(_strategy(kind.key_type), _strategy(kind.value_type), max_size=3)
        case mi.ListType():
            return st.lists(_strategy(kind.item_type), max_size=3)
        case mi.VarTupleType():
            return st.lists(_strategy(kind.item_type), max_size=3).map(tuple)
        case mi.EnumType():
            return st.sampled_from(list(kind.cls))
        case mi.IntType():
            return st.one_of(st.integers(-70, 1100), LONG)
    return {
        mi.StrType: st.text(max_size=80),
        mi.BytesType: st.binary(max_size=80),
        mi.BoolType: st.booleans(),
        mi.NoneType: st.none(),
    }[type(kind)]


def least(cls: type[Struct]) -> Any:
    """A record with its required fields alone."""
    return _sample(mi.type_info(cls), "", full=False)


def full(cls: type[Struct]) -> Any:
    """A record with every field set, to something that differs from its default."""
    return _sample(mi.type_info(cls), "", full=True)


def _sample(kind: mi.Type, name: str, *, full: bool) -> Any:
    if isinstance(kind, mi.StructType):
        asked = [field for field in kind.fields if full or field.required]
        return kind.cls(**{field.name: _sample(field.type, field.name, full=full) for field in asked})
    if isinstance(kind, mi.UnionType):
        return _sample(next(each for each in kind.types if not isinstance(each, mi.NoneType)), name, full=full)
    if isinstance(kind, mi.DictType):
        keys = {"key": f"{name} value", "ключ": ""}
        return {key: _sample(kind.value_type, value, full=full) for key, value in keys.items()}
    if isinstance(kind, mi.ListType):
        return [_sample(kind.item_type, name, full=full)]
    if isinstance(kind, mi.VarTupleType):
        return tuple(_sample(kind.item_type, name, full=full) for _ in range(2))
    return _leaf(kind, name, full=full)


def _leaf(kind: mi.Type, name: str, *, full: bool) -> Any:
    if isinstance(kind, mi.EnumType):
        return list(kind.cls)[len(name) % len(kind.cls)]
    return {
        mi.StrType: f"{name} ✓ 𝄞" if full else name,
        mi.BytesType: bytes(range(250, 256)) + name.encode(),
        # Another length of the number for each field: 1 to 6 bytes.
        mi.IntType: 1_760_000_000_123 if name.endswith("_at") else sum(name.encode()) ** (len(name) % 4),
        mi.BoolType: True,
    }[type(kind)]


def to_fields(record: Struct) -> Any:
    """What fastavro would write for it."""
    return msgspec.to_builtins(record, builtin_types=(bytes,))
