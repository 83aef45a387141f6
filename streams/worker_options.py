"""All that a worker is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from state.options import StoreOptions
from streams.options import ConsumerOptions, Limits, MonitoringOptions, ReadOptions, WatchdogOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """What a worker needs to know; settings build it.

    Attributes:
        bootstrap_servers: ``host:port`` list, comma separated.
        data_dir: The deployment's data folder on this machine; each worker has one below it.
        prefix: Of the deployment's topics.
        partitions: N of every topic, fixed for the deployment.
        name: The worker's name; the first free ``worker-N`` of this machine where empty.
        registry_url: Confluent schema registry, None for single-object Avro.
        client_config: Further librdkafka settings; those of TLS and SASL hold for the consumer group as well.
        standby_replicas: Copies of each partition that other workers keep, so that a takeover reads only the tail.
    """

    bootstrap_servers: str
    data_dir: Path
    prefix: str = "barnabas"
    partitions: int = 16
    name: str = ""
    registry_url: str | None = None
    client_config: Mapping[str, object] = field(default_factory=dict, repr=False)  # with a password, perhaps
    limits: Limits = field(default_factory=Limits)
    consumer: ConsumerOptions = field(default_factory=ConsumerOptions)
    store: StoreOptions = field(default_factory=StoreOptions)
    monitoring: MonitoringOptions = field(default_factory=MonitoringOptions)
    watchdog: WatchdogOptions = field(default_factory=WatchdogOptions)
    standby_replicas: int = 0
    reads: ReadOptions = field(default_factory=ReadOptions)
