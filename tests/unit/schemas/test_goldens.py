"""Every record that any version ever wrote is read, and means what it meant."""

import json
from pathlib import Path

import msgspec
import pytest

from schemas.record_types import RECORDS, VALUES
from schemas.serdes import Codec
from tests.unit.schemas.goldens import GOLDEN_DIR, SAMPLES, path_of, value_of
from tests.unit.schemas.reading import read

CODEC = Codec()
GOLDENS = sorted(GOLDEN_DIR.glob("*.json"))


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_decode_golden_bytes_yields_what_they_mean(path: Path) -> None:
    """Old bytes and their JSON are the same record."""
    golden = json.loads(path.read_text("utf-8"))
    cls = RECORDS[path.name.split(".")[0]]
    expected = msgspec.convert(golden["means"], cls)
    assert read(CODEC, cls, bytes.fromhex(golden["avro"])) == expected


@pytest.mark.parametrize("path", [path for path in GOLDENS if "value" in json.loads(path.read_text())], ids=str)
def test_decode_value_golden_bytes_yields_what_they_mean(path: Path) -> None:
    """As above, for what lies in the table."""
    golden = json.loads(path.read_text("utf-8"))
    cls = RECORDS[path.name.split(".")[0]]
    codec, raw = CODEC, bytes.fromhex(golden["value"])
    value = codec.decode_session(raw) if cls.__name__ == "Session" else codec.decode_partition_state(raw)
    assert value == msgspec.convert(golden["means"], cls)


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("sample", SAMPLES)
def test_encode_sample_equals_its_golden(name: str, sample: str) -> None:
    """What is written now is what the golden says; a missing one: python -m tests.unit.schemas.goldens."""
    codec, cls = CODEC, RECORDS[name]
    record = SAMPLES[sample](cls)
    avro = codec.encode(record)
    golden = json.loads(path_of(cls, sample, avro).read_text("utf-8"))
    assert avro.hex() == golden["avro"]
    assert json.loads(codec.to_json(record)) == golden["means"]
    if cls in VALUES:
        assert value_of(codec, record).hex() == golden["value"]
