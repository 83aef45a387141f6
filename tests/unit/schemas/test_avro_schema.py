"""The ``.avsc`` files say what the structs say."""

import json
from pathlib import Path

import pytest
from fastavro import parse_schema
from msgspec import Struct

from schemas import avro_schema
from schemas.avro_schema import AVRO_DIR, HISTORY_DIR, main, schema_of, stale
from schemas.known_schemas import KnownSchemas, WriterSchema, fingerprint_of
from schemas.record_types import RECORDS
from schemas.tokens import Token


def test_files_every_struct_equal_what_the_structs_say() -> None:
    """To repair: python -m schemas.avro_schema --write."""
    assert [cls.__name__ for cls in stale()] == []
    assert {path.stem for path in AVRO_DIR.glob("*.avsc")} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_file_any_type_is_a_documented_schema_of_the_namespace(name: str) -> None:
    """Each file stands alone, names its type and says what it is for."""
    schema = json.loads((AVRO_DIR / f"{name}.avsc").read_text("utf-8"))
    assert parse_schema(schema)["name"] == f"barnabas.v1.{name}"
    assert schema["doc"]


def test_token_fields_have_the_promised_types() -> None:
    """What other languages build against: optional is null first, try is an int, an enum is a string."""
    fields = {field["name"]: field for field in schema_of(Token)["fields"]}
    assert fields["attempt"]["type"]["fields"][0]["type"] == "long"
    assert fields["attempt"]["type"]["fields"][1]["name"] == "try"
    assert fields["attempt"]["type"]["fields"][1]["type"] == "int"
    assert fields["kind"]["type"] == "string"
    assert fields["text"]["type"] == ["null", "string"]
    assert fields["text"]["default"] is None


def test_schema_of_field_without_avro_type_raises() -> None:
    """A field that Avro cannot hold is refused when the files are made, not on the wire."""

    class Odd(Struct):
        thing: set[int]

    with pytest.raises(TypeError, match="no Avro type"):
        schema_of(Odd)


def test_fingerprint_null_schema_equals_the_specification() -> None:
    """The Avro project's own test value, in the order of the wire."""
    assert fingerprint_of("null") == (7195948357588979594).to_bytes(8, "little")  # type: ignore[arg-type]


def test_fingerprint_other_docs_and_defaults_is_the_same() -> None:
    """The canonical form has no docs and no defaults: editing them never orphans a record."""
    schema = schema_of(Token)
    schema["doc"] = "other"
    assert fingerprint_of(schema) == KnownSchemas().current("Token").fingerprint


def test_fingerprints_all_schemas_differ() -> None:
    """A fingerprint names one type."""
    known = KnownSchemas()
    assert len({known.current(name).fingerprint for name in RECORDS}) == len(RECORDS)


def test_history_every_file_is_named_by_its_fingerprint() -> None:
    """A history file that was edited would no longer read its records."""
    for path in HISTORY_DIR.glob("*.avsc"):
        schema = WriterSchema(json.loads(path.read_text("utf-8")))
        assert path.name == f"{schema.name}.{schema.fingerprint.hex()}.avsc"


def test_write_changed_schema_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command moves a replaced schema to the history; with --unreleased it does not; a second run is quiet."""
    monkeypatch.setattr(avro_schema, "AVRO_DIR", tmp_path)
    monkeypatch.setattr(avro_schema, "HISTORY_DIR", tmp_path / "history")
    assert main([]) == 1
    assert main(["--write"]) == 0
    assert main([]) == 0
    older = schema_of(Token)
    older["fields"] = older["fields"][:-1]
    for argv, kept in ((["--write", "--unreleased"], []), (["--write"], [f"Token.{fingerprint_of(older).hex()}.avsc"])):
        (tmp_path / "Token.avsc").write_text(json.dumps(older), "utf-8")
        assert main(argv) == 0
        assert [path.name for path in tmp_path.glob("history/*")] == kept
    assert main([]) == 0


def test_writer_schema_array_of_nothing_is_refused() -> None:
    """Items of no bytes let a short record claim any number of them."""
    for items in ("null", {"type": "record", "name": "Empty", "fields": []}, {"type": "fixed", "name": "F", "size": 0}):
        field = {"name": "tool_calls", "type": {"type": "array", "items": items}}
        schema = {"type": "record", "name": "barnabas.v1.ToolCalled", "fields": [field]}
        with pytest.raises(ValueError, match="no bytes"):
            WriterSchema(schema)
