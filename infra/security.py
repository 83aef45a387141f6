"""TLS, SASL and ACLs of the embedded broker: for tests, and for trying out what a cluster demands."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.certificates import BROKER_NAME, make_certificates, write_private
from infra.ports import HOST
from schemas.errors import BrokerError

#: The user that may do everything; the broker itself is signed in as it as well.
ADMIN: Final = "admin"

#: How users sign in; the administrator by ``PLAIN`` as well.
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256")

# What Kafka's storage tool and a properties file take without quoting.
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")

_LISTENERS: Final = """\
listeners=CLIENT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENT://{host}:{port}
listener.security.protocol.map=CLIENT:SASL_SSL,CONTROLLER:SSL
controller.listener.names=CONTROLLER
inter.broker.listener.name=CLIENT
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{admin}" password="{password}";
listener.name.client.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{admin}="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
# The controller's port takes the broker's own certificate and no other one.
listener.name.controller.ssl.client.auth=required
"""

_ACLS: Final = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin};User:CN={broker}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSecurity:
    """What a broker demands of its clients. It is settled with the broker's first start, and kept with its data.

    Args:
        password: Of the user ``admin``, which may do everything.
        users: Further users and their passwords.
        has_acls: Whether users may do only what they were granted; else each may do everything.
        logs_decisions: Log each right that was used, too, not only those that were refused (``logs/authorizer.log``).
        hosts: Names and addresses in the broker's certificate, beside 127.0.0.1.

    Raises:
        BrokerError: A name or a password that is not made of letters, digits, ``.``, ``_`` and ``-``.
    """

    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    has_acls: bool = True
    logs_decisions: bool = False
    hosts: tuple[str, ...] = ("localhost",)

    def __post_init__(self) -> None:
        for text in (self.password, *self.users, *self.users.values()):
            if not _PLAIN.fullmatch(text):
                raise BrokerError("users and passwords of the embedded broker are letters, digits, dots, _ and -")


@dataclass(frozen=True, slots=True)
class SecurityFiles:
    """Where a broker's security is kept: ``security`` in its data directory.

    ::

        ca.pem         what clients are to trust
        broker.pem     the broker's key and certificate
        security.json  what was settled, with the administrator's password
        admin.yaml     the administrator's settings, for ``barnabas --config``
    """

    path: Path

    @property
    def ca(self) -> Path:
        """What clients are to trust."""
        return self.path / "ca.pem"

    @property
    def admin_settings(self) -> Path:
        """The administrator's settings."""
        return self.path / "admin.yaml"

    @property
    def _broker(self) -> Path:
        return self.path / "broker.pem"

    @property
    def _settled(self) -> Path:
        return self.path / "security.json"

    def settled(self) -> BrokerSecurity | None:
        """Return what the broker demands, without its further users; None for a broker that demands nothing."""
        try:
            fields = json.loads(self._settled.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BrokerError(f"{self._settled} cannot be read ({error}); the broker's security is lost") from error
        return BrokerSecurity(**{**fields, "hosts": tuple(fields["hosts"])})

    def settle(self, security: BrokerSecurity) -> None:
        """Make the certificates, and write down what the broker demands."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_certificates(self.ca, self._broker, (HOST, *security.hosts))
        kept = {name: getattr(security, name) for name in ("password", "has_acls", "logs_decisions", "hosts")}
        write_private(self._settled, json.dumps(kept).encode())

    def forget(self) -> None:
        """Demand nothing of clients."""
        self._settled.unlink(missing_ok=True)

    def listeners(self, security: BrokerSecurity, port: int, controller_port: int) -> str:
        """Return the part of Kafka's settings that is about connections and rights."""
        text = _LISTENERS + (_ACLS if security.has_acls else "")
        return text.format(
            host=HOST,
            port=port,
            controller_port=controller_port,
            admin=ADMIN,
            broker=BROKER_NAME,
            password=security.password,
            keystore=str(self._broker).replace("\\", "\\\\"),
            truststore=str(self.ca).replace("\\", "\\\\"),
        )

    def client_config(self, user: str, password: str) -> dict[str, Any]:
        """Return what a user's clients need, by librdkafka's names."""
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": MECHANISMS[0],
            "sasl.username": user,
            "sasl.password": password,
            "ssl.ca.location": str(self.ca),
        }

    def write_admin_settings(self, security: BrokerSecurity, bootstrap_servers: str) -> None:
        """Write the administrator's settings as ``barnabas.yaml`` has them."""
        lines = [f"bootstrap_servers: {bootstrap_servers}", "kafka:"]
        config = self.client_config(ADMIN, security.password)
        lines += [f"  {name}: {json.dumps(value)}" for name, value in config.items()]
        write_private(self.admin_settings, ("\n".join(lines) + "\n").encode())
