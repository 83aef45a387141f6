"""Avro for the current structs as straight-line Python, generated from each struct when it is first used.

fastavro walks dicts and schemas: 4.4 us to write a token from a dict, 4.1 us to read one into a dict, and the struct
is not made yet. The function generated here for a token reads and writes the struct itself in about 1.7 and 2.3 us
(``benchmarks/codec.py``), with the same bytes as fastavro's: the tests compare the two for every type.

Broken bytes: positions only grow, and a slice behind the end is short instead of an error; so a text that claims more
than there is puts the position behind the end, where the next read or the last check fails. Nothing is allocated by
a claimed length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec.inspect as mi
from msgspec import Struct

from schemas import varint

_VARINTS = varint.Varints()
_BRANCHES = (0, 2)


def compile_encoder(cls: type[Struct], prefix: bytes) -> Callable[[Any], bytes]:
    """A function from a struct to ``prefix`` and its Avro body.

    It raises UnicodeEncodeError for lone surrogates, OverflowError beyond 64 bits, AttributeError or TypeError for a
    value of another type than its field's.
    """
    source = _Source({"V": _VARINTS, "PREFIX": prefix})
    parts = ["PREFIX", *_write(source, mi.type_info(cls), "record", 1)]
    source.line(1, f"return b''.join(({', '.join(parts)}))")
    return cast("Callable[[Any], bytes]", source.function("encode", "record"))


def compile_decoder(cls: type[Struct], start: int) -> Callable[[bytes], Struct]:
    """A function from framed bytes, whose Avro body begins at ``start``, to a struct.

    It raises IndexError, ValueError, UnicodeDecodeError or KeyError for broken bytes.
    """
    source = _Source(
        {
            "number_at": varint.decode,
            "length_at": varint.decode_length,
            "count_at": varint.decode_count,
            "bad_branch": _bad_branch,
            "bad_end": _bad_end,
        }
    )
    source.line(1, f"at = {start}")
    value = _read(source, mi.type_info(cls), 1)
    source.line(1, "if at != len(raw): bad_end(at, raw)")
    source.line(1, f"return {value}")
    return cast("Callable[[bytes], Struct]", source.function("decode", "raw"))


class _Source:
    """Lines of a function in the making, its names, and what it refers to."""

    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope
        self._lines: list[str] = []
        self._names = 0

    def name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def bind(self, thing: Any) -> str:
        name = f"K{len(self.scope)}"
        self.scope[name] = thing
        return name

    def line(self, depth: int, text: str) -> None:
        self._lines.append("    " * depth + text)

    def function(self, name: str, argument: str) -> Any:
        text = "\n".join([f"def {name}({argument}):", *self._lines])
        # Nothing but field names of our own structs is in the text; dataclasses and attrs do the same.
        exec(compile(text, f"<schemas.compiled {name}>", "exec"), self.scope)  # noqa: S102
        return self.scope[name]


def _write(source: _Source, kind: mi.Type, value: str, depth: int) -> list[str]:
    """Lines that prepare a value, and the expressions whose bytes are its Avro."""
    if isinstance(kind, mi.StructType):
        record = source.name()
        source.line(depth, f"{record} = {value}")
        return [part for field in kind.fields for part in _write(source, field.type, f"{record}.{field.name}", depth)]
    if isinstance(kind, (mi.StrType, mi.EnumType)):
        text = source.name()
        source.line(depth, f"{text} = {value}.encode()")
        return [f"V[len({text})]", text]
    if isinstance(kind, mi.BytesType):
        data = source.name()
        source.line(depth, f"{data} = {value}")
        return [f"V[len({data})]", data]
    if isinstance(kind, mi.IntType):
        return [f"V[{value}]"]
    if isinstance(kind, mi.BoolType):
        return [f"(b'\\x01' if {value} else b'\\x00')"]
    if isinstance(kind, mi.UnionType):
        return [_write_optional(source, kind, value, depth)]
    return [_write_block(source, kind, value, depth)]


def _write_optional(source: _Source, kind: mi.UnionType, value: str, depth: int) -> str:
    held, out = source.name(), source.name()
    source.line(depth, f"{held} = {value}")
    source.line(depth, f"if {held} is None: {out} = b'\\x00'")
    source.line(depth, "else:")
    parts = _write(source, _inner(kind), held, depth + 1)
    source.line(depth + 1, f"{out} = b''.join((b'\\x02', {', '.join(parts)}))")
    return out


def _write_block(source: _Source, kind: mi.Type, value: str, depth: int) -> str:
    held, out, item = source.name(), source.name(), source.name()
    source.line(depth, f"{held} = {value}")
    source.line(depth, f"if not {held}: {out} = b'\\x00'")
    source.line(depth, "else:")
    source.line(depth + 1, f"{out} = [V[len({held})]]")
    if isinstance(kind, mi.DictType):
        key = source.name()
        source.line(depth + 1, f"for {key}, {item} in {held}.items():")
        parts = [*_write(source, mi.StrType(), key, depth + 2), *_write(source, kind.value_type, item, depth + 2)]
    else:
        source.line(depth + 1, f"for {item} in {held}:")
        parts = _write(source, _item(kind), item, depth + 2)
    source.line(depth + 2, f"{out} += ({', '.join(parts)},)")
    source.line(depth + 1, f"{out}.append(b'\\x00')")
    source.line(depth + 1, f"{out} = b''.join({out})")
    return out


def _read(source: _Source, kind: mi.Type, depth: int) -> str:
    """Lines that read a value and move on, and the expression that holds it then."""
    if isinstance(kind, mi.StructType):
        fields = [f"{field.name}={_read(source, field.type, depth)}" for field in kind.fields]
        return f"{source.bind(kind.cls)}({', '.join(fields)})"
    out = source.name()
    if isinstance(kind, mi.UnionType):
        source.line(depth, "branch = raw[at]; at += 1")
        source.line(depth, f"if branch == {_BRANCHES[0]}: {out} = None")
        source.line(depth, f"elif branch == {_BRANCHES[1]}:")
        source.line(depth + 1, f"{out} = {_read(source, _inner(kind), depth + 1)}")
        source.line(depth, "else: bad_branch(branch)")
    elif isinstance(kind, mi.BoolType):
        source.line(depth, "branch = raw[at]; at += 1")
        source.line(depth, "if branch > 1: bad_branch(branch)")
        source.line(depth, f"{out} = branch == 1")
    elif isinstance(kind, mi.IntType):
        # One byte is the common case; an odd one is negative.
        source.line(depth, f"{out} = raw[at]")
        source.line(depth, f"if {out} < 128: at += 1; {out} = ({out} >> 1) ^ -({out} & 1)")
        source.line(depth, f"else: {out}, at = number_at(raw, at)")
    elif isinstance(kind, (mi.StrType, mi.BytesType, mi.EnumType)):
        source.line(depth, "size = raw[at]")
        source.line(depth, "if size & 129: size, at = length_at(raw, at)")
        source.line(depth, "else: size >>= 1; at += 1")
        source.line(depth, "end = at + size")
        text = "raw[at:end]" if isinstance(kind, mi.BytesType) else "raw[at:end].decode()"
        if isinstance(kind, mi.EnumType):
            text = f"{source.bind({str(member.value): member for member in kind.cls})}[{text}]"
        source.line(depth, f"{out} = {text}")
        source.line(depth, "at = end")
    else:
        _read_block(source, kind, out, depth)
    return out


def _read_block(source: _Source, kind: mi.Type, out: str, depth: int) -> None:
    count, each = source.name(), source.name()
    empty = "{}" if isinstance(kind, mi.DictType) else "[]"
    source.line(depth, f"{out} = {empty}")
    source.line(depth, f"{count}, at = count_at(raw, at)")
    source.line(depth, f"while {count}:")
    source.line(depth + 1, f"for {each} in range({count}):")
    if isinstance(kind, mi.DictType):
        key = _read(source, mi.StrType(), depth + 2)
        source.line(depth + 2, f"{out}[{key}] = {_read(source, kind.value_type, depth + 2)}")
    else:
        source.line(depth + 2, f"{out}.append({_read(source, _item(kind), depth + 2)})")
    source.line(depth + 1, f"{count}, at = count_at(raw, at)")
    if isinstance(kind, mi.VarTupleType):
        source.line(depth, f"{out} = tuple({out})")


def _inner(kind: mi.UnionType) -> mi.Type:
    [inner] = [each for each in kind.types if not isinstance(each, mi.NoneType)]
    return inner


def _item(kind: mi.Type) -> mi.Type:
    if isinstance(kind, (mi.ListType, mi.VarTupleType)):
        return kind.item_type
    raise TypeError(f"no Avro for {kind}")


def _bad_branch(branch: int) -> None:
    raise ValueError(f"byte {branch:02x} where 00 or 02 (a union) or 00 or 01 (a boolean) belongs")


def _bad_end(at: int, raw: bytes) -> None:
    missing = at - len(raw)
    raise ValueError(f"{missing} bytes are missing" if missing > 0 else f"{-missing} bytes too many")
