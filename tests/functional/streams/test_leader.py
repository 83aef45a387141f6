"""The group's leader shares the partitions out, whatever it knows of the topics."""

from pathlib import Path
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata

from state.options import StoreOptions
from streams.app import ConsumerOptions, create_app
from topics.names import TopicNames


@pytest.mark.parametrize("known", [None, set(), {0, 1, 2, 3}], ids=["unheard-of", "empty", "known"])
async def test_every_partition_has_an_owner_though_the_broker_has_just_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: set[int] | None
) -> None:
    """A broker that answers before it has its topics: chaos found a group of three in which nobody owned anything.

    Mutant: ``counts`` without ``or known``.
    """
    names = TopicNames("barnabas")
    options: dict[str, Any] = {"consumer": ConsumerOptions(), "store": StoreOptions()}
    app, _ = create_app(
        names=names, bootstrap_servers="127.0.0.1:1", partitions=4, data_dir=tmp_path, worker="w", **options
    )
    monkeypatch.setattr(ClusterMetadata, "partitions_for_topic", lambda _self, _topic: known)
    topics = {names.messages, names.events}
    members = {member: app.assignor.metadata(topics) for member in ("a", "b", "c")}
    shared = app.assignor.assign(ClusterMetadata(), members)
    for topic in topics:
        owned = [
            number
            for given in shared.values()
            for name, numbers in given.assignment
            if name == topic
            for number in numbers
        ]
        assert sorted(owned) == [0, 1, 2, 3]
