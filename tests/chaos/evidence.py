"""What a run leaves behind, read by the suite itself: topics, samples, local databases, effects."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import rocksdict

from schemas.serdes import Codec
from tests.chaos.fleet import Exit
from tests.chaos.load import Confirmed
from tests.chaos.memory_fold import table_value
from tests.chaos.sampler import Sample
from tests.support.topic_reader import Read, TopicReader
from topics.names import TopicNames

_READ_S = 120.0


class Effect(NamedTuple):
    """A tool's effect on the world, noted by the tool itself when it ran."""

    turn_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class Database:
    """A worker's local database of one partition.

    Attributes:
        values: Its sessions and its own records, as far as they can be read; None where it cannot be opened.
        error: Why it cannot be opened, or not be read to its end.
        damaged_at: When the suite has flipped bytes of it, Unix time; None for never.
    """

    worker: str
    partition: int
    path: Path
    values: dict[bytes, bytes] | None
    error: str = ""
    damaged_at: float | None = None


@dataclass
class Wound:
    """What was done to a worker's disk, or to all, and may make a process end.

    Attributes:
        worker: Whose; empty for every worker's.
        kind: What was done.
        began: Unix time.
        ended: ...; while it lasts, no start can succeed.
        until: When it has no effect any more: what it had is wiped.
    """

    worker: str
    kind: str
    began: float
    ended: float
    until: float = math.inf

    @property
    def lasted(self) -> bool:
        """Whether it was a time, and not a moment."""
        return self.ended > self.began


@dataclass
class Evidence:
    """Everything the judge looks at."""

    names: TopicNames
    partitions: int
    records: Mapping[str, list[Read]]
    confirmed: list[Confirmed]
    samples: list[Sample] = field(default_factory=list)
    databases: list[Database] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    wounds: list[Wound] = field(default_factory=list)
    shed_lag_s: float | None = None
    #: How long a cancel is kept for a message that has not come, in seconds: the longest a turn may take.
    cancel_kept_s: float = 15.0

    def of(self, topic: str) -> list[Read]:
        """A topic's records, in offset order within a partition."""
        return self.records.get(topic, [])


def read_topics(bootstrap_servers: str, names: TopicNames, partitions: int) -> dict[str, list[Read]]:
    """Read every topic of the deployment to its end."""
    found: dict[str, list[Read]] = {}
    for topic in names.all:
        reader = TopicReader(bootstrap_servers, topic, partitions)
        try:
            found[topic] = reader.read_to_end(_READ_S)
        finally:
            reader.close()
    return found


def read_databases(data_dir: Path, damaged: Mapping[Path, float]) -> list[Database]:
    """Read what the workers left on disk; all of them have ended. ``damaged``: which have flipped bytes, since when."""
    found = []
    for path in sorted(data_dir.glob("workers/*/v*/tables/*.db")):
        worker = path.relative_to(data_dir).parts[1]
        number = int(path.stem.rpartition("-")[2])
        found.append(Database(worker, number, path, *_read(path), damaged.get(path)))
    return found


def _read(path: Path) -> tuple[dict[bytes, bytes] | None, str]:
    values: dict[bytes, bytes] = {}
    with tempfile.TemporaryDirectory() as logs:
        options = rocksdict.Options(raw_mode=True)
        options.set_db_log_dir(logs)
        try:
            database = rocksdict.Rdict(str(path), options=options, access_type=rocksdict.AccessType.read_only())
        except Exception as failure:  # noqa: BLE001 -- rocksdict raises bare Exception
            return None, str(failure)
        try:
            for key, value in database.items():
                values[bytes(key)] = bytes(value)
        except Exception as failure:  # noqa: BLE001
            return values, str(failure)
        finally:
            database.close()
    return values, ""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines; one that was never made is empty."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def dump(records: Mapping[str, list[Read]], names: TopicNames, folder: Path) -> None:
    """Write the topics down as JSON lines: what is ours decoded, other bytes as text."""
    folder.mkdir(parents=True, exist_ok=True)
    codec = Codec()
    decoders = {
        names.events: codec.decode_event,
        names.tokens: codec.decode_token,
        names.dead_letters: codec.decode_dead_letter,
    }
    for topic, reads in records.items():
        decode = decoders.get(topic)
        with (folder / f"{topic}.jsonl").open("w") as lines:
            for read in reads:
                line = read._asdict()
                if decode is not None:
                    line["value"] = decode(read.value, topic=topic, partition=read.partition, offset=read.offset)
                elif topic == names.changelog and read.value is not None and not (read.key or b"").startswith(b"\x00"):
                    line["value"] = codec.decode_session(table_value(read.value).body)
                lines.write(json.dumps(line, default=_plain) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return msgspec.to_builtins(value)
