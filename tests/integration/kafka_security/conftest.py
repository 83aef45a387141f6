"""One broker with TLS, SCRAM and ACLs for this folder's tests; each user is granted what its component needs."""

from __future__ import annotations

import json
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from infra import security as broker_security
from infra.broker import Broker
from infra.ports import free_port
from infra.security import _LISTENERS, ADMIN, BrokerSecurity
from topics.acls import Component, Grant, apply, bindings, grants
from topics.names import TopicNames

PARTITIONS = 2

#: A user for each component, and what each is beyond its own.
USERS: dict[str, tuple[Component, ...]] = {
    "worker": (Component.WORKER,),
    "gateway": (Component.GATEWAY,),
    "client": (Component.CLIENT,),
    "publisher": (Component.PUBLISHER,),
    "subscriber": (Component.SUBSCRIBER,),
    "reader": (Component.READER,),
    "doctor": (Component.DOCTOR,),
    "rebuilder": (Component.DOCTOR, Component.REBUILD),
    "retrier": (Component.READER, Component.RETRY),
    "topics": (Component.TOPICS,),
    "limited": (),
}

_DECISION = re.compile(
    r"Principal = User:(?P<user>\S+) is (?P<verdict>Allowed|Denied) operation = (?P<operation>\w+) .*"
    r"on resource = (?P<kind>\w+):LITERAL:(?P<name>\S+) for request"
)

#: One more listener, which lets in whoever shows a certificate of the broker's authority: here the broker's own.
_CERTIFICATES = """\
listeners=CLIENT://{{host}}:{{port}},CERTIFICATE://{{host}}:{port},CONTROLLER://{{host}}:{{controller_port}}
advertised.listeners=CLIENT://{{host}}:{{port}},CERTIFICATE://{{host}}:{port}
listener.security.protocol.map=CLIENT:SASL_SSL,CERTIFICATE:SSL,CONTROLLER:SSL
listener.name.certificate.ssl.client.auth=required
"""

Rights = dict[tuple[str, str], set[str]]


def _all_of(user: str) -> AclBindingFilter:
    any_resource = ResourceType.ANY, None, ResourcePatternType.ANY
    return AclBindingFilter(*any_resource, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY)


class Secured:
    """The broker, its users and a deployment's names."""

    def __init__(self, folder: Path) -> None:
        self.names = TopicNames(f"t-secured-{uuid.uuid4().hex[:8]}")
        self.passwords = {user: secrets.token_urlsafe(12) for user in (*USERS, ADMIN)}
        self._folder = folder / "broker"
        security = BrokerSecurity(
            password=self.passwords[ADMIN],
            users={user: self.passwords[user] for user in USERS},
            logs_decisions=True,
            hosts=(),  # 127.0.0.1 alone: by "localhost" it is another host
        )
        self.broker = Broker(self._folder, free_port(), stops_with_parent=True, security=security)
        certificate_port = free_port()
        self.certificate_servers = f"127.0.0.1:{certificate_port}"
        with pytest.MonkeyPatch.context() as patch:
            # The last line of a name counts.
            patch.setattr(broker_security, "_LISTENERS", _LISTENERS + _CERTIFICATES.format(port=certificate_port))
            self.state = self.broker.start(120.0)
        self.servers = self.state.bootstrap_servers
        self.admin = AdminClient({"bootstrap.servers": self.servers, "log_level": 0, **self.config(ADMIN)})
        for user, components in USERS.items():
            self.grant(user, [grant for each in components for grant in grants(each, self.names)])

    def config(self, user: str, **other: str) -> dict[str, Any]:
        """A user's librdkafka settings; ``other`` ones by their names with underscores."""
        config = self.broker.security_files.client_config(user, self.passwords[user])
        return {**config, **{name.replace("_", "."): value for name, value in other.items()}}

    def certificate_config(self) -> dict[str, Any]:
        """The settings of whoever signs in with the broker's certificate, and may do everything."""
        files = self.broker.security_files
        pair = str(files.path / "broker.pem")  # certificate and key
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(files.ca),
            "ssl.certificate.location": pair,
            "ssl.key.location": pair,
        }

    def grant(self, user: str, given: Sequence[Grant]) -> None:
        """Grant a user something."""
        if given:
            acls = bindings(given, f"User:{user}")
            apply(self.admin, acls, self.servers)
            self._wait_for(user, lambda known: known >= len(acls))

    def revoke(self, user: str) -> None:
        """Take everything away from a user."""
        for future in self.admin.delete_acls([_all_of(user)]).values():
            future.result()
        self._wait_for(user, lambda known: not known)

    def _wait_for(self, user: str, is_so: Callable[[int], bool]) -> None:
        """Wait until the broker goes by what its controller has confirmed."""
        deadline = time.monotonic() + 60.0
        while not is_so(len(self.admin.describe_acls(_all_of(user)).result())):
            assert time.monotonic() < deadline, f"the broker does not hear of the rights of {user}"
            time.sleep(0.05)

    def env(self, user: str, folder: Path, **other: str) -> dict[str, str]:
        """The environment of a user's process."""
        return {
            "KAFKA_BOOTSTRAP_SERVERS": self.servers,
            "BARNABAS_KAFKA": json.dumps(self.config(user)),
            "BARNABAS_PREFIX": self.names.prefix,
            "BARNABAS_PARTITIONS": str(PARTITIONS),
            "BARNABAS_DATA_DIR": str(folder),
            "BARNABAS_MODEL": "echo",
            **other,
        }

    def decisions(self, user: str, verdict: str) -> Rights:
        """What the broker allowed or denied a user: operations by kind and name of what they were on."""
        found: Rights = {}
        for line in (self._folder / "logs" / "authorizer.log").read_text().splitlines():
            decision = _DECISION.search(line)
            if decision and (decision["user"], decision["verdict"]) == (user, verdict):
                place = decision["kind"].lower(), decision["name"]
                found.setdefault(place, set()).add(decision["operation"])
        return found


def produce(secured: Secured, user: str, topic: str, key: bytes, value: bytes | None, *, partition: int) -> None:
    """Write a record as a user, and wait for the broker's word."""
    producer = Producer({"bootstrap.servers": secured.servers, **secured.config(user)})
    producer.produce(topic, value, key, partition)
    assert producer.flush(20.0) == 0


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Give the broker."""
    made = Secured(tmp_path_factory.mktemp("secured"))
    yield made
    made.broker.stop()
