"""The six topics and how Kafka keeps them."""

import dataclasses

import pytest

from schemas.errors import SettingsError
from topics.catalog import DAY_MS, FOREVER_MS, MAX_INPUT_BYTES, MAX_RECORD_BYTES, TopicSpec, catalog
from topics.names import TopicNames

NAMES = TopicNames("p")


def by_name(**options: int) -> dict[str, TopicSpec]:
    """Return the catalog by name."""
    return {spec.name: spec for spec in catalog(NAMES, **options)}


def test_catalog_default_holds_every_name_once_in_order() -> None:
    """Names and catalog cannot drift apart."""
    assert tuple(spec.name for spec in catalog(NAMES)) == NAMES.all


@pytest.mark.parametrize("partitions", [1, 16, 48])
def test_catalog_any_size_gives_all_topics_the_same_count(partitions: int) -> None:
    """A session's records lie on one partition number everywhere."""
    assert {spec.partitions for spec in catalog(NAMES, partitions)} == {partitions}


@pytest.mark.parametrize(
    ("name", "policy", "retention_ms"),
    [
        (NAMES.messages, "delete", 7 * DAY_MS),
        (NAMES.control, "delete", 7 * DAY_MS),
        (NAMES.events, "delete", FOREVER_MS),
        (NAMES.tokens, "delete", DAY_MS),
        (NAMES.dead_letters, "delete", 30 * DAY_MS),
        (NAMES.changelog, "compact", FOREVER_MS),
    ],
)
def test_catalog_default_keeps_each_topic_as_designed(name: str, policy: str, retention_ms: int) -> None:
    """The design's table, part 2 and 4."""
    config = by_name()[name].kafka_config()
    assert config["cleanup.policy"] == policy
    assert config["retention.ms"] == str(retention_ms)


def test_catalog_changelog_compacts_late_and_keeps_tombstones() -> None:
    """A late reader meets a day of values and a week of tombstones."""
    config = by_name()[NAMES.changelog].kafka_config()
    assert config["min.compaction.lag.ms"] == str(DAY_MS)
    assert config["delete.retention.ms"] == str(7 * DAY_MS)


def test_catalog_what_clients_write_is_timed_by_the_broker() -> None:
    """A client's clock neither has its messages shed nor kept for longer."""
    stamped = {name for name, spec in by_name().items() if spec.config.get("message.timestamp.type")}
    assert stamped == {NAMES.messages, NAMES.control}
    assert by_name()[NAMES.messages].kafka_config()["message.timestamp.type"] == "LogAppendTime"


def test_catalog_outputs_take_records_larger_than_any_input() -> None:
    """A dead letter holds a whole input record and its envelope."""
    limits = {name: int(spec.config["max.message.bytes"]) for name, spec in by_name().items()}
    assert limits[NAMES.messages] == MAX_INPUT_BYTES
    for name in (NAMES.events, NAMES.dead_letters, NAMES.changelog):
        assert limits[name] == MAX_RECORD_BYTES >= 2 * MAX_INPUT_BYTES - 100


@pytest.mark.parametrize(("factor", "insync"), [(1, "1"), (2, "1"), (3, "2"), (5, "2")])
def test_catalog_more_copies_need_two_from_three_on(factor: int, insync: str) -> None:
    """One broker may fail without loss or stop."""
    for spec in catalog(NAMES, replication_factor=factor):
        assert spec.replication_factor == factor
        assert spec.config["min.insync.replicas"] == insync


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"partitions": 0}, "partitions"),
        ({"replication_factor": 0}, "min_insync_replicas"),
        ({"replication_factor": 2, "min_insync_replicas": 3}, "min_insync_replicas"),
        ({"min_insync_replicas": 0}, "min_insync_replicas"),
    ],
)
def test_catalog_impossible_number_is_refused_by_name(options: dict[str, int], field: str) -> None:
    """The operator learns which setting."""
    with pytest.raises(SettingsError, match=field):
        by_name(**options)


def test_spec_is_frozen() -> None:
    """Nobody changes a topic in passing."""
    spec = catalog(NAMES)[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.partitions = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        spec.config["x"] = "y"  # type: ignore[index]
