"""Reading a partition's sessions in the order of their keys: RocksDB and what is not confirmed yet, as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import StoreError
from schemas.session import PartitionState, Session
from state.value import PARTITION_KEY
from state.write_path import WritePath
from tests.functional.state.stores import VALUES, make_store, session_value
from tests.functional.state.test_write_path import ObedientChangelog

IDS = st.text(st.sampled_from("ab/éz~"), min_size=1, max_size=3)


def path_over(folder: Path, stored: dict[str, int], newer: dict[str, int]) -> WritePath:
    """A write path with sessions in RocksDB, and newer ones that wait for the broker."""
    store = make_store(folder)
    store.own({0})
    values = {name.encode(): session_value(name, folded) for name, folded in stored.items()}
    values[PARTITION_KEY] = VALUES.encode(PartitionState(partition=0))
    store.write(0, values, 7)  # beside them lie the partition's own record and the changelog position
    path = WritePath(
        store, VALUES, ObedientChangelog(), on_foreign_record=lambda *_: None, on_store_failure=lambda _: None
    )
    path.open_partition(0)
    for name, folded in newer.items():
        session = Session(session_id=name, folded=folded, epoch=0)
        path.put(0, name.encode(), session, lambda: None, urgent=False)
    return path


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    stored=st.dictionaries(IDS, st.integers(1, 3), max_size=12),
    newer=st.dictionaries(IDS, st.integers(4, 6), max_size=6),
    prefix=st.sampled_from(["", "a", "a/", "é", "x"]),
    count=st.integers(1, 5),
)
def test_scan_gives_each_newest_value_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, stored: dict[str, int], newer: dict[str, int], prefix: str, count: int
) -> None:
    """Page by page. Without the overlay it shows what the broker has confirmed, and not what was folded."""
    path = path_over(tmp_path_factory.mktemp("scan"), stored, newer)
    found: list[tuple[str, int]] = []
    after = b""
    while page := path.scan(0, after, prefix.encode(), count):
        assert len(page) <= count
        found += [(session.session_id, session.folded) for _, session in page]
        after = page[-1][0]
    expected = {**stored, **newer}
    assert found == sorted(
        ((name, folded) for name, folded in expected.items() if name.startswith(prefix)),
        key=lambda one: one[0].encode(),
    )
    for name, folded in expected.items():
        session = path.find(0, name.encode())
        assert session is not None
        assert session.folded == folded
    path._store.close_partition(0)


def test_find_knows_what_is_not_there(tmp_path: Path) -> None:
    """A turn that looked at a session before its first event leaves an empty one in the cache."""
    path = path_over(tmp_path, {"a": 1}, {})
    assert path.load(0, b"b").folded == -1
    assert path.find(0, b"b") is None
    path._store.close_partition(0)


def test_range_of_a_partition_that_is_not_owned_is_refused(tmp_path: Path) -> None:
    """Never opened: its lock may be another worker's."""
    store = make_store(tmp_path)
    with pytest.raises(StoreError):
        store.range(1, b"", b"", 5)


def test_store_closes_after_a_page(tmp_path: Path) -> None:
    """No iterator outlives its page (F18): another process could not open the database for half a minute."""
    path = path_over(tmp_path, dict.fromkeys("abcdef", 1), {})
    assert len(path.scan(0, b"", b"", 3)) == 3
    path._store.close_partition(0)
    again = make_store(tmp_path)
    again.own({0})
    assert again.read(0, b"a") is not None
    again.close_partition(0)
