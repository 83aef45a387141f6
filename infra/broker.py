"""The embedded broker: Apache Kafka in KRaft mode, one node, a child process on the loopback address."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.archive import Archive
from infra.broker_state import BrokerState
from infra.cache import default_cache_dir, file_lock
from infra.jars import ensure_jars, pinned
from infra.java import Java, find_java
from infra.kraft import DataDir
from infra.ports import DEFAULT_PORT, free_port, is_free
from infra.process import Child, start
from infra.security import ADMIN, BrokerSecurity, SecurityFiles
from schemas.errors import BrokerError

_JVM_FLAGS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xlog:all=error",  # an archive that does not fit is worth no line: Java goes on without
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
# Kafka unmaps buffers and loads zstd in ways that Java 24 and later warn about.
_QUIET_SINCE = 24
_QUIET_FLAGS = ("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow")

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_KILL_TIMEOUT_S = 10.0
_ARCHIVE_TIMEOUT_S = 90.0
_PORT_TRIES = 3


class Broker:
    """A broker in ``data_dir``, started by this object or by another process.

    Its log survives a stop, a kill and a restart. As a context manager it starts, and stops what it started.

    Args:
        data_dir: Data, settings and logs of this broker alone; made when it starts.
        port: Where clients connect. None takes the port of the last run here, else 9092, else a free one.
        stops_with_parent: End the broker when this process ends, even by SIGKILL; else it runs on (``broker start``).
        cache_dir: Where jars and archives are kept; the platform's cache folder unless given.
        makes_archive: Prepare Java for quick starts, on this machine's first start (5 to 9 s, once).
        security: Have clients connect by TLS and sign in. Settled with the first start in ``data_dir``: a later one
            without it is as secured as the first.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        stops_with_parent: bool = False,
        cache_dir: Path | None = None,
        makes_archive: bool = True,
        security: BrokerSecurity | None = None,
    ) -> None:
        self._dir = DataDir(Path(data_dir).absolute())
        self._port = port
        self._stops_with_parent = stops_with_parent
        self._cache = cache_dir or default_cache_dir()
        self._makes_archive = makes_archive
        self._security = security
        self._extra_flags: list[str] = []
        self._child: Child | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this object started the broker that runs."""
        return self._child is not None and self._child.process.is_running()

    def start(self, timeout_s: float = _START_TIMEOUT_S) -> BrokerState:
        """Start the broker unless one runs here already; return once it answers a metadata request.

        The first start on a machine fetches Kafka's jars (44 MB). Blocks.

        Args:
            timeout_s: From the start of Java to its first answer, in seconds.

        Raises:
            BrokerError: No Java, no jars, the port is taken, or Kafka died or did not answer; its last lines are in
                the text.
        """
        self._reap()
        java = find_java()
        jars = ensure_jars(self._cache)
        class_path = os.pathsep.join(map(str, jars))
        archive = Archive.of(java, class_path, jars[0].parent)
        if self._makes_archive and archive.is_missing():
            _make_archive(archive, self._cache)
        self._make_data_dir()
        with file_lock(self._dir.path / ".start.lock"):
            if running := self.status():
                return running
            flags = [*_JVM_FLAGS, *(_QUIET_FLAGS if java.major >= _QUIET_SINCE else ()), *archive.use_flags()]
            command = [str(java.path), *flags, *self._extra_flags, "-cp", class_path]
            for attempt in range(_PORT_TRIES):
                state = self._launch(java, command, jars[0].parent)
                if self._wait_until_ready(state, timeout_s):
                    return state
                # A port found free may be taken a moment later; one that was asked for is not exchanged.
                tail = self._dir.tail()
                is_port = "Address already in use" in tail
                if not is_port or self._port or attempt + 1 == _PORT_TRIES:
                    break
        hint = f"port {state.port} is taken: name another" if is_port else f"more in {self._dir.output.parent}"
        raise BrokerError(f"Kafka did not start ({hint}); it said last:\n{tail}")

    @property
    def security_files(self) -> SecurityFiles:
        """Certificates and settings for its clients, where it is secured."""
        return self._dir.security

    def status(self) -> BrokerState | None:
        """Return the broker that runs in the data directory, whoever started it, or None."""
        state = BrokerState.read(self._dir.state)
        return state if state and state.process.is_running() else None

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> bool:
        """Stop the broker that runs in the data directory, whoever started it; Kafka closes its log.

        Args:
            timeout_s: How long Kafka may take before it is killed, in seconds.

        Returns:
            Whether there was one.

        Raises:
            BrokerError: It did not even end when killed.
        """
        return self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> bool:
        """Kill the broker as a crash would (SIGKILL); return whether there was one.

        Raises:
            BrokerError: It did not end.
        """
        return self._end(signal.SIGKILL, _KILL_TIMEOUT_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_ours:
            self.stop()

    def _make_data_dir(self) -> None:
        try:
            self._dir.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BrokerError(
                f"data directory {self._dir.path} cannot be made: {error.strerror}; name another"
            ) from error

    def _launch(self, java: Java, command: list[str], cache: Path) -> BrokerState:
        """Start Kafka and write down who it is; it is not ready yet."""
        port, controller_port = self._choose_ports()
        security = self._settled_security()
        self._dir.write_settings(port, controller_port, security)
        self._dir.clear_logs()
        users = {**self._security.users, ADMIN: self._security.password} if self._security and security else None
        cluster_id = self._dir.format(command, cache / "bootstrap.checkpoint", users)
        program = [
            *command[:-2],
            f"-Dlog4j2.configurationFile={self._dir.log4j}",
            *command[-2:],
            "kafka.Kafka",
            str(self._dir.settings),
        ]
        try:
            self._child = start(program, self._dir.output, stops_with_parent=self._stops_with_parent)
        except OSError as error:
            raise BrokerError(f"Java at {java.path} could not be started: {error}") from error
        state = BrokerState(
            pid=self._child.process.pid,
            started=self._child.process.started,
            port=port,
            controller_port=controller_port,
            data_dir=self._dir.path,
            cluster_id=cluster_id,
            kafka_version=pinned().kafka_version,
            stops_with_parent=self._stops_with_parent,
            is_secured=security is not None,
        )
        state.write(self._dir.state)
        if security is not None:
            self._dir.security.write_admin_settings(security, state.bootstrap_servers)
        return state

    def _settled_security(self) -> BrokerSecurity | None:
        """Return what clients are asked for here; the first start settles it.

        Raises:
            BrokerError: Security is asked for, and the data was made without.
        """
        files = self._dir.security
        if not self._dir.is_formatted:
            if self._security is None:
                files.forget()  # of a first start that did not come so far
                return None
            files.settle(self._security)
        settled = files.settled()
        if self._security is not None and settled is None:
            raise BrokerError(f"the broker in {self._dir.path} was made without security; name another data_dir")
        return settled

    def _choose_ports(self) -> tuple[int, int]:
        if self._port is not None:
            if not is_free(self._port):
                raise BrokerError(f"port {self._port} is taken: name another, or none to have a free one chosen")
            return self._port, free_port(self._port)
        last = BrokerState.read(self._dir.state)
        wanted = [last.port] if last else []
        port = next((port for port in [*wanted, DEFAULT_PORT] if is_free(port)), None) or free_port()
        return port, free_port(port)

    def _wait_until_ready(self, state: BrokerState, timeout_s: float) -> bool:
        """Return whether Kafka answers with its own cluster's metadata before it dies or time is up."""
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        deadline = time.monotonic() + timeout_s
        settings = {
            "bootstrap.servers": state.bootstrap_servers,
            "log_level": 0,  # refused connections are expected here
            "reconnect.backoff.ms": 20,
            "reconnect.backoff.max.ms": 50,
        }
        if security := self._dir.security.settled() if state.is_secured else None:
            settings |= self._dir.security.client_config(ADMIN, security.password)
        admin = AdminClient(settings)
        while state.process.is_running():
            try:
                metadata = admin.list_topics(timeout=0.25)
            except KafkaException:
                metadata = None
            # Somebody else's Kafka may have taken the port in between: the cluster tells.
            if metadata and metadata.brokers and metadata.cluster_id == state.cluster_id:
                return True
            if time.monotonic() > deadline:
                self.kill()
                break
        self._reap()
        return False

    def _end(self, signum: signal.Signals, timeout_s: float) -> bool:
        state = self.status()
        if state:
            state.process.send(signum)
            if not state.process.wait(timeout_s):
                state.process.send(signal.SIGKILL)
                if not state.process.wait(_KILL_TIMEOUT_S):
                    raise BrokerError(f"Kafka (pid {state.pid}) does not end, even when killed; look at that process")
        self._reap()
        return state is not None

    def _reap(self) -> None:
        if self._child and not self._child.process.is_running():
            self._child.reap()
            self._child = None


def _make_archive(archive: Archive, cache_dir: Path) -> None:
    """Run a throw-away broker that writes the archive when it stops; whoever comes meanwhile goes without."""
    with file_lock(archive.path.with_suffix(".lock"), is_waiting=False) as is_held:
        if not is_held or not archive.is_missing():
            return
        from rich.console import Console

        Console(stderr=True).print("preparing Kafka for quick starts (once)", highlight=False)
        with tempfile.TemporaryDirectory(dir=archive.path.parent, prefix=".archive-") as scratch:
            target = Path(scratch, "archive")
            broker = Broker(
                Path(scratch, "data"), free_port(), stops_with_parent=True, cache_dir=cache_dir, makes_archive=False
            )
            broker._extra_flags = archive.make_flags(target)  # noqa: SLF001 - this module's own
            broker.start()
            broker.stop(_ARCHIVE_TIMEOUT_S)
            archive.keep(target)
