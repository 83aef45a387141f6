"""Every metric of a worker by name: what the endpoint shows, and what the reference is generated from."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

Kind = Literal["counter", "gauge", "histogram"]

_FAMILIES: Final[dict[Kind, type[Metric]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class MetricSpec(NamedTuple):
    """One metric.

    Attributes:
        name: As it is shown; a histogram's series end in ``_bucket``, ``_sum`` and ``_count``.
        kind: Prometheus's type.
        help: One line.
        labels: Their names.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    def family(self) -> Metric:
        """Make its empty family, to be filled with ``add_metric``."""
        return _FAMILIES[self.kind](self.name, self.help, labels=self.labels)  # type: ignore[call-arg]


WORKER = MetricSpec(
    "barnabas_worker_info", "gauge", "Always 1; its labels say who this is.", ("worker", "prefix", "version")
)
HEALTHY = MetricSpec("barnabas_healthy", "gauge", "1 while /healthz is 200.")
READY = MetricSpec("barnabas_ready", "gauge", "1 while /readyz is 200.")

TURNS = MetricSpec("barnabas_turns_total", "counter", "Turns whose outcome is folded.", ("agent", "outcome"))
TURN_FAILURES = MetricSpec("barnabas_turn_failures_total", "counter", "Failed turns by cause.", ("agent", "cause"))
TURN_DURATION = MetricSpec(
    "barnabas_turn_duration_seconds", "histogram", "From a lane taking a message up to its folded outcome.", ("agent",)
)
FIRST_TOKEN = MetricSpec(
    "barnabas_time_to_first_token_seconds",
    "histogram",
    "From a lane taking a message up to its first token record.",
    ("agent",),
)
MODEL_TOKENS = MetricSpec(
    "barnabas_model_tokens_total", "counter", "Tokens of completed turns as the model counts them.", ("agent", "type")
)
TOKEN_RECORDS = MetricSpec("barnabas_token_records_total", "counter", "Delta records sent to readers.", ("agent",))
TURNS_IN_FLIGHT = MetricSpec("barnabas_turns_in_flight", "gauge", "Turns that run, or wait for a slot.")
TURNS_WAITING = MetricSpec(
    "barnabas_turns_waiting", "gauge", "Turns that wait for a slot: of their agent's share, or of the worker's."
)
TURNS_MAX = MetricSpec("barnabas_turns_max", "gauge", "Turns that may run at once (limits.max_turns).")
LANES = MetricSpec("barnabas_lanes", "gauge", "Sessions with a message that runs or waits.", ("partition",))
MESSAGES_BEGUN = MetricSpec(
    "barnabas_messages_begun", "gauge", "Messages that run or wait in lanes, or for their partition.", ("partition",)
)
OLDEST = MetricSpec(
    "barnabas_oldest_unfinished_seconds",
    "gauge",
    "Age of the oldest message that is begun and not acknowledged; 0 for none.",
    ("partition",),
)

PARTITIONS = MetricSpec("barnabas_partitions", "gauge", "Owned partitions by phase.", ("phase",))
GENERATION = MetricSpec("barnabas_group_generation", "gauge", "The consumer group's generation.")
HIGH_WATER = MetricSpec("barnabas_high_water", "gauge", "End of the partition as last fetched.", ("topic", "partition"))
LAG = MetricSpec(
    "barnabas_lag_records", "gauge", "High water less what is done and may be committed.", ("topic", "partition")
)
BACKLOG = MetricSpec("barnabas_backlog_records", "gauge", "High water less what was begun.", ("topic", "partition"))
COMMITTED = MetricSpec("barnabas_committed_offset", "gauge", "The committed offset.", ("topic", "partition"))

EPOCHS_OPENED = MetricSpec("barnabas_epochs_opened_total", "counter", "Openings of ours that were folded.")
EPOCHS_LOST = MetricSpec("barnabas_epochs_lost_total", "counter", "Epochs that ended before their partition was left.")
REJECTED = MetricSpec(
    "barnabas_rejected_records_total", "counter", "Records of the log that the fold did not apply.", ("verdict",)
)
DEAD_LETTERS = MetricSpec("barnabas_dead_letters_total", "counter", "Records put aside.", ("topic", "cause"))

RECOVERING = MetricSpec("barnabas_recovery_running", "gauge", "1 while a recovery runs.")
RECOVERIES = MetricSpec("barnabas_recoveries_total", "counter", "Recoveries begun.")
RECOVERY_PARTITIONS = MetricSpec("barnabas_recovery_partitions", "gauge", "Partitions of the last recovery.")
RECOVERY_RECORDS = MetricSpec("barnabas_recovery_records", "gauge", "Changelog offsets the last recovery has to read.")
RECOVERY_READ = MetricSpec("barnabas_recovery_records_read", "gauge", "Changelog records the last recovery has read.")
RECOVERY_SECONDS = MetricSpec("barnabas_recovery_seconds", "gauge", "How long the last recovery has taken.")

STANDBY_LAG = MetricSpec(
    "barnabas_standby_lag_records", "gauge", "Changelog records that a followed partition's copy lacks.", ("partition",)
)

ADMISSION_LIMIT = MetricSpec("barnabas_admission_limit", "gauge", "Turns that may be under way at once, as of now.")
CALLS_LEFT = MetricSpec(
    "barnabas_calls_left_behind_total", "counter", "Calls of models and tools that ignored their end."
)

PRODUCER_QUEUE = MetricSpec("barnabas_producer_queue_records", "gauge", "Records sent and not confirmed.")
UNCONFIRMED = MetricSpec("barnabas_unconfirmed_values", "gauge", "Session values that wait for the changelog.")
ROCKSDB_MEMORY = MetricSpec("barnabas_rocksdb_memory_bytes", "gauge", "RocksDB's memory by use.", ("use",))
ROCKSDB_DISK = MetricSpec("barnabas_rocksdb_disk_bytes", "gauge", "Size of RocksDB's live table files.")
ROCKSDB_KEYS = MetricSpec("barnabas_rocksdb_keys", "gauge", "RocksDB's estimate of its keys: sessions, mostly.")

LOOP_DELAY = MetricSpec(
    "barnabas_event_loop_delay_seconds", "histogram", "How much later than asked for the event loop came back."
)
LOOP_BLOCKED = MetricSpec("barnabas_event_loop_blocked_seconds", "gauge", "How long it has been blocked; 0 if not.")

CATALOG: Final = tuple(found for found in tuple(globals().values()) if isinstance(found, MetricSpec))
