"""What is written down about a running broker, so that another process finds it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.ports import HOST
from infra.process import ProcessId


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """A broker that was started.

    Args:
        pid: Of the Java process.
        started: Its start time, opaque; with ``pid`` it names the process for ever.
        port: Where clients connect, on 127.0.0.1.
        controller_port: Kafka's own.
        data_dir: Its data, settings and logs.
        cluster_id: Kafka's id of the cluster in that directory.
        kafka_version: Which Kafka runs.
        stops_with_parent: Whether it ends with the process that started it.
        is_secured: Whether clients need TLS and a user.
    """

    pid: int
    started: str
    port: int
    controller_port: int
    data_dir: Path
    cluster_id: str
    kafka_version: str
    stops_with_parent: bool
    is_secured: bool = False

    @property
    def bootstrap_servers(self) -> str:
        """``127.0.0.1:port``."""
        return f"{HOST}:{self.port}"

    @property
    def process(self) -> ProcessId:
        """The Java process."""
        return ProcessId(self.pid, self.started)

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` in one step."""
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self) | {"data_dir": str(self.data_dir)}, indent=1) + "\n")
        draft.replace(path)

    @classmethod
    def read(cls, path: Path) -> BrokerState | None:
        """Return what ``path`` says, whether that broker runs or not; None where it says nothing usable."""
        try:
            fields = json.loads(path.read_text())
            # The directory may have been moved since.
            return cls(**fields | {"data_dir": path.parent.absolute()})
        except (OSError, ValueError, TypeError):
            return None
