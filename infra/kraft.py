"""The broker's data directory: Kafka's settings, its log settings, the formatted storage.

::

    DATA_DIR/
    ├── broker.json         who runs here
    ├── server.properties   written at every start
    ├── log4j2.properties   written at every start
    ├── security/           certificates, the administrator's password; only where there is security
    ├── kafka/              Kafka's log directory
    └── logs/               server.log (warnings and errors), kafka.out (stdout and stderr)
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.certificates import write_private
from infra.ports import HOST
from infra.security import MECHANISMS, BrokerSecurity, SecurityFiles
from schemas.errors import BrokerError

_FORMAT_TIMEOUT_S = 60.0
_TAIL_LINES = 12

_SERVER = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
{listeners}log.dirs={log_dir}
# One broker.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A single small group: Kafka's 50 partitions each would only be 50 directories.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
share.coordinator.state.topic.num.partitions=4
# After a kill the controller refuses the broker's new registration until the old one's session is over: with Kafka's
# 9 s a restart takes 11 s, with 2 s it takes 3 to 4 s. Broker and controller share a process here: little is risked.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
# Topics are made by topics/admin.py, never by a typing error.
auto.create.topics.enable=false
# A first worker starts at once instead of waiting 3 s for others.
group.initial.rebalance.delay.ms=0
# Kafka's 128 MiB would be a quarter of this heap.
log.cleaner.dedupe.buffer.size=16777216
# An index is allocated in full when its segment opens: 2 MiB hold a segment of 1 GiB; Kafka's 10 MiB would be 2 GB
# for a hundred partitions on a file system without sparse files.
log.index.size.max.bytes=2097152
"""

_PLAIN_LISTENERS = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
"""

_LOG4J = """\
status=error
appender.file.type=RollingFile
appender.file.name=File
appender.file.fileName={logs}/server.log
appender.file.filePattern={logs}/server.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}}: %m%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=10MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=3
rootLogger.level=warn
rootLogger.appenderRef.file.ref=File
"""

# Kafka logs refused rights at info, used ones at debug.
_LOG4J_RIGHTS = """\
appender.rights.type=File
appender.rights.name=Rights
appender.rights.fileName={logs}/authorizer.log
appender.rights.layout.type=PatternLayout
appender.rights.layout.pattern=%d %m%n
logger.rights.name=kafka.authorizer.logger
logger.rights.level={level}
logger.rights.additivity=false
logger.rights.appenderRef.rights.ref=Rights
"""


@dataclass(frozen=True, slots=True)
class DataDir:
    """The layout of a broker's data directory (see the module's text)."""

    path: Path

    @property
    def state(self) -> Path:
        """Who runs here."""
        return self.path / "broker.json"

    @property
    def settings(self) -> Path:
        """Kafka's settings."""
        return self.path / "server.properties"

    @property
    def log4j(self) -> Path:
        """Kafka's log settings."""
        return self.path / "log4j2.properties"

    @property
    def output(self) -> Path:
        """Kafka's stdout and stderr."""
        return self.path / "logs" / "kafka.out"

    @property
    def _log_dir(self) -> Path:
        return self.path / "kafka"

    @property
    def _meta(self) -> Path:
        return self._log_dir / "meta.properties"

    @property
    def security(self) -> SecurityFiles:
        """Certificates and the administrator's password, where there is security."""
        return SecurityFiles(self.path / "security")

    def write_settings(self, port: int, controller_port: int, security: BrokerSecurity | None = None) -> None:
        """Write what Kafka reads at its start; the folders are made."""
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._log_dir.mkdir(exist_ok=True)
        log_dir = _property(self._log_dir)
        if security is None:
            listeners = _PLAIN_LISTENERS.format(host=HOST, port=port, controller_port=controller_port)
        else:
            listeners = self.security.listeners(security, port, controller_port)
        text = _SERVER.format(host=HOST, controller_port=controller_port, listeners=listeners, log_dir=log_dir)
        write_private(self.settings, text.encode())
        rights = _LOG4J_RIGHTS if security is not None and security.has_acls else ""
        level = "debug" if security is not None and security.logs_decisions else "info"
        self.log4j.write_text(
            (_LOG4J + rights).format(logs=_property(self.output.parent), level=level), encoding="utf-8"
        )

    @property
    def is_formatted(self) -> bool:
        """Whether Kafka has run here before."""
        return self._cluster_id() is not None

    def format(self, java: list[str], template: Path, users: Mapping[str, str] | None = None) -> str:
        """Format the storage unless it is; return the cluster's id.

        Kafka's own tool costs 0.8 s, once a version: what it writes besides ids is kept in ``template`` and used again.

        Args:
            java: How to run a class: program, flags and class path.
            template: Where the bootstrap records of this Kafka version are kept; not used where there are users.
            users: Users and their passwords, written with the bootstrap records.

        Raises:
            BrokerError: The tool failed.
        """
        if cluster_id := self._cluster_id():
            return cluster_id
        cluster_id = _new_id()
        bootstrap = self._log_dir / "bootstrap.checkpoint"
        if template.is_file() and not users:
            bootstrap.write_bytes(template.read_bytes())
            draft = self._meta.with_suffix(".new")
            draft.write_text(f"version=1\nnode.id=1\ncluster.id={cluster_id}\ndirectory.id={_new_id()}\n")
            draft.replace(self._meta)  # the last step: a directory without it counts as not formatted
            return cluster_id
        tool = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", str(self.settings)]
        for name, password in (users or {}).items():
            for mechanism in MECHANISMS:
                tool += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
        # In a file: anybody may read a process's arguments.
        arguments = self.path / "format.args"
        write_private(arguments, "\n".join(map(_quoted, tool[1:])).encode())
        try:
            answer = subprocess.run(
                [tool[0], f"@{arguments}"], capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BrokerError(f"Kafka's storage tool did not run: {error}") from error
        finally:
            arguments.unlink()
        if answer.returncode or self._cluster_id() != cluster_id:
            said = " / ".join((answer.stderr + answer.stdout).strip().splitlines()[-3:])
            raise BrokerError(f"Kafka could not format {self._log_dir}: {said or 'no reason given'}")
        if users:
            return cluster_id
        draft = template.with_suffix(f".{os.getpid()}")
        draft.write_bytes(bootstrap.read_bytes())
        draft.replace(template)
        return cluster_id

    def tail(self) -> str:
        """Return the last lines that Kafka wrote, for an error's text."""
        lines: list[str] = []
        for path in (self.output, self.output.with_name("server.log")):
            try:
                lines += path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
            except OSError:
                continue
        return "\n".join(f"  {line}" for line in lines) or "  (nothing)"

    def clear_logs(self) -> None:
        """Begin the logs of a new start, keeping the last one's under ``.1``."""
        for path in (self.output, self.output.with_name("server.log")):
            if path.exists():
                path.replace(path.with_name(f"{path.name}.1"))

    def _cluster_id(self) -> str | None:
        try:
            match = re.search(r"^cluster\.id=(\S+)", self._meta.read_text(), re.MULTILINE)
        except OSError:
            return None
        return match[1] if match else None


def _new_id() -> str:
    """Return an id as Kafka makes them: 16 random bytes in base64, never with a leading hyphen."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def _quoted(argument: str) -> str:
    """Return a line of a file of arguments for Java's launcher."""
    return '"' + argument.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _property(path: Path) -> str:
    """Return an absolute path as a value of a Java properties file."""
    return str(path.absolute()).replace("\\", "\\\\")
