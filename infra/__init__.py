"""Machines: the embedded Kafka broker and what it runs on."""

from infra.bootstrap import resolve_bootstrap_servers
from infra.broker import Broker
from infra.broker_state import BrokerState

__all__ = ["Broker", "BrokerState", "resolve_bootstrap_servers"]
