"""Golden records: bytes that some version wrote, and what they mean; they are read by a test for ever.

``python -m tests.unit.schemas.goldens`` adds the samples of types and schemas that have none yet. It never rewrites a
file: the bytes of a golden lie in somebody's log. Where an upcaster changes what they mean, amend ``means`` by hand.

A file is named ``<Type>.<sample>.<fingerprint>.json`` and holds ``avro`` (hex, single-object encoding), ``value`` (hex,
the table's encoding, for what the table holds) and ``means`` (the record as JSON).
"""

import json
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct

from schemas.record_types import RECORDS, VALUES
from schemas.serdes import Codec
from schemas.session import PartitionState, Session
from tests.unit.schemas.samples import full, least

GOLDEN_DIR = Path(__file__).parents[2] / "golden" / "schemas"
SAMPLES = {"least": least, "full": full}


def path_of(cls: type[Struct], sample: str, avro: bytes) -> Path:
    """Where the golden of a type's sample lies, for the schema it was written with."""
    return GOLDEN_DIR / f"{cls.__name__}.{sample}.{avro[2:10].hex()}.json"


def value_of(codec: Codec, record: Session | PartitionState) -> bytes:
    """The record as the table holds it."""
    return codec.encode_session(record) if isinstance(record, Session) else codec.encode_partition_state(record)


def add() -> list[Path]:
    """Writes the goldens that are missing, and names them."""
    codec, added = Codec(), []
    for cls in RECORDS.values():
        for sample, make in SAMPLES.items():
            record = make(cls)
            avro = codec.encode(record)
            path = path_of(cls, sample, avro)
            if path.exists():
                continue
            golden: dict[str, Any] = {"avro": avro.hex()}
            if cls in VALUES:
                golden["value"] = value_of(codec, record).hex()
            golden["means"] = json.loads(codec.to_json(record))
            path.write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", "utf-8")
            added.append(path)
    return added


if __name__ == "__main__":
    for path in add():
        sys.stdout.write(f"added {path}\n")
