"""The index, moments, speeds, transcripts and exports, without a broker."""

from __future__ import annotations

import itertools
import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabas.history.diff import diff
from barnabas.history.export import open_writer
from barnabas.history.index import Listed, Opening, PartitionIndex, Run
from barnabas.history.log import _runs
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import Moment
from barnabas.history.replay import factor_of
from barnabas.history.transcript import render, transcript_turns
from schemas.attempt import Attempt
from schemas.errors import SettingsError, StoreError
from schemas.events import LogEvent, SessionErased, TurnCancelled, TurnCompleted, TurnStarted
from schemas.session import MemoryEntry, Session
from state.fold import Verdict


@pytest.fixture
def index(tmp_path: Path) -> PartitionIndex:
    """Give an index that begins at 0."""
    made = PartitionIndex(tmp_path / "i" / "0.sqlite")
    made.begin(0)
    return made


def test_index_gives_back_what_was_added_in_any_range(index: PartitionIndex) -> None:
    """Offsets over several commits, openings, the place it covers."""
    assert index.extend(0, 10, {b"a": Run([1, 3, 9], 5), b"b": Run([2], 6)}, [Opening(0, "w1")])
    assert index.extend(10, 20, {b"a": Run([12, 19], 7)}, [Opening(10, "w2"), Opening(15, "w3")])
    assert index.place == (0, 20)
    assert index.offsets(b"a", 0, 20) == [1, 3, 9, 12, 19]
    assert index.offsets(b"a", 3, 19) == [3, 9, 12]
    assert index.offsets(b"c", 0, 20) == []
    assert [opening.offset for opening in index.openings(1, 16)] == [10, 15]
    assert index.openings_before(15, 1) == [Opening(10, "w2")]
    assert [(one.key, one.events, one.last_offset) for one in index.sessions(5)] == [(b"a", 5, 19), (b"b", 1, 2)]
    index.close()


def test_index_takes_nothing_from_a_process_that_was_slower(index: PartitionIndex, tmp_path: Path) -> None:
    """Two read the same range: its records count once."""
    other = PartitionIndex(tmp_path / "i" / "0.sqlite")
    assert index.extend(0, 5, {b"a": Run([1], 1)}, [])
    assert not other.extend(0, 5, {b"a": Run([1], 1)}, [])
    assert other.offsets(b"a", 0, 5) == [1]
    index.close()
    other.close()


def test_index_snapshots_of_another_fold_version_do_not_count(
    index: PartitionIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold what another fold made of the events."""
    index.keep(b"a", {3: b"three", 9: b"nine"})
    assert index.snapshot(b"a", 9) == (3, b"three")
    assert index.snapshot(b"a", 10) == (9, b"nine")
    assert index.snapshot(b"a", 3) is None
    monkeypatch.setattr("barnabas.history.index.FOLD_VERSION", 99)
    assert index.snapshot(b"a", 10) is None
    index.close()


def test_index_that_is_torn_is_made_anew(index: PartitionIndex, tmp_path: Path) -> None:
    """The log has everything."""
    index.close()
    path = tmp_path / "i" / "0.sqlite"
    path.write_bytes(b"no database at all" * 100)
    again = PartitionIndex(path)
    assert again.place is None
    again.close()


def test_index_that_another_process_holds_is_left_alone(
    index: PartitionIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locked is not torn: its rows are sound, and its owner works on."""
    path = tmp_path / "i" / "0.sqlite"
    monkeypatch.setattr("barnabas.history.index._BUSY_S", 0.01)
    index.extend(0, 5, {b"a": Run([1], 1)}, [])
    index.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            PartitionIndex(path)
        other.execute("ROLLBACK")
    again = PartitionIndex(path)
    assert again.offsets(b"a", 0, 5) == [1]
    again.close()


def test_index_on_a_full_disk_answers_without_a_snapshot(index: PartitionIndex) -> None:
    """A snapshot that finds no room is left out; what has to be written says what is wrong, and leaves nothing half."""
    database = index._db
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    index.keep(b"a", {3: b"x" * 100_000})
    assert index.snapshot(b"a", 9) is None
    many = {b"session-%d" % number: Run([number], 1) for number in range(10_000)}
    with pytest.raises(StoreError, match="full"):
        index.extend(0, 10_000, many, [])
    assert index.place == (0, 0)
    database.execute("PRAGMA max_page_count = 100000")
    assert index.extend(0, 10_000, many, [])
    index.close()


def test_index_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    """A file where its folder should be."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        PartitionIndex(tmp_path / "taken" / "0.sqlite")


def test_list_of_sessions_reads_a_row_for_each(index: PartitionIndex) -> None:
    """Not every run of offsets that it ever had."""
    for number in range(5):
        assert index.extend(number * 10, number * 10 + 10, {b"a": Run([number * 10, number * 10 + 1], number)}, [])
    index._db.execute("DELETE FROM runs")
    assert index.sessions(9) == [Listed(b"a", 10, 41, 4)]
    index.close()


@given(st.sets(st.integers(0, 50_000)).map(sorted))
def test_runs_hold_every_offset_once_and_in_order(offsets: list[int]) -> None:
    """Near ones together, far ones apart."""
    runs = list(_runs(offsets))
    assert [offset for run in runs for offset in run] == offsets
    assert all(
        later[0] - earlier[-1] > 200 or later[0] - earlier[0] > 1000 for earlier, later in itertools.pairwise(runs)
    )


def test_moment_of_each_form() -> None:
    """Offset, time, how long ago, as values and as text."""
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert Moment.of(7) == Moment.of("7") == Moment(offset=7)
    assert Moment.of(noon) == Moment.of("2026-11-21T12:00:00Z") == Moment(time_ms=1795262400000)
    ago, text = Moment.of(timedelta(hours=2)).time_ms or 0, Moment.of("-2h").time_ms or 0
    assert abs(ago - text) < 5000
    for wrong in ("yesterday", "-5", "", "1.5", "-3w"):
        with pytest.raises(SettingsError, match="-15m"):
            Moment.of(wrong)
    with pytest.raises(SettingsError, match="no offset"):
        Moment.of(-1)


def test_factor_of_speeds() -> None:
    """A factor, with or without x, or max."""
    assert [factor_of(speed) for speed in ("max", "1x", "0.5x", "10")] == [0.0, 1.0, 0.5, 10.0]
    for wrong in ("0x", "fast", "-1x", ""):
        with pytest.raises(SettingsError, match="speed"):
            factor_of(wrong)


def logged(offset: int, event: LogEvent, verdict: Verdict = Verdict.APPLIED) -> LoggedEvent:
    """Make a record of the log."""
    return LoggedEvent(partition=0, offset=offset, timestamp_ms=offset, event=event, verdict=verdict)


def conversation() -> list[LoggedEvent]:
    """A turn that counts, a zombie's answer to it, a cancelled one."""

    def ids(turn: str, epoch: int = 0) -> dict[str, object]:
        return {"event_id": turn, "session_id": "ada", "turn_id": turn, "message_id": turn, "attempt": Attempt(epoch),
                "source_offset": 0, "occurred_at": 0}  # fmt: skip

    return [
        logged(1, TurnStarted(**ids("t1"), text="hi", agent="poet", model="m")),  # type: ignore[arg-type]
        logged(2, TurnCompleted(**ids("t1", 9), text="zombie", deltas=1, decided_upto=0), Verdict.STALE_EPOCH),  # type: ignore[arg-type]
        logged(3, TurnCompleted(**ids("t1"), text="ho", deltas=1, decided_upto=0)),  # type: ignore[arg-type]
        logged(4, TurnStarted(**ids("t2"), text="more", agent="poet", model="m")),  # type: ignore[arg-type]
        logged(5, TurnCancelled(**ids("t2"), text="as f", reason="enough", decided_upto=1)),  # type: ignore[arg-type]
    ]


def test_transcript_tells_what_counts() -> None:
    """Nothing of a zombie's; of a cancelled turn as far as it came."""
    turns = transcript_turns(conversation())
    assert [(turn.user, turn.answer, turn.outcome, turn.cause) for turn in turns] == [
        ("hi", "ho", "completed", None), ("more", "as f", "cancelled", "enough"),
    ]  # fmt: skip
    text = render("ada", turns, "md")
    assert "zombie" not in text
    assert "**poet**, 1970-01-01T00:00:00.000Z (cancelled: enough)\n\nas f\n" in text
    assert json.loads(render("ada", turns, "json"))["turns"][0]["user"] == "hi"
    with pytest.raises(SettingsError, match="md or json"):
        render("ada", turns, "xml")  # type: ignore[arg-type]


def test_transcript_of_an_erased_session_begins_behind_its_erasure() -> None:
    """The log holds it still; the transcript shows it no more."""
    first, *_ = conversation()
    assert first.event is not None
    erased = SessionErased(
        event_id="e", session_id="ada", turn_id="t3", message_id="m3", attempt=Attempt(0), source_offset=2,
        occurred_at=0, decided_upto=2,
    )  # fmt: skip
    assert transcript_turns([*conversation(), logged(6, erased)]) == []


def test_diff_names_what_changed() -> None:
    """Memory by entries, the rest by field."""
    old = MemoryEntry(seq=0, role="user", text="hi", turn_id="t1", occurred_at=0)
    new = MemoryEntry(seq=1, role="user", text="ho", turn_id="t2", occurred_at=0)
    found = diff(Session(session_id="ada", memory=(old,)), Session(session_id="ada", memory=(new,), turns=1))
    assert (found.added, found.removed, found.changed) == ((new,), (old,), {"turns": (0, 1)})


def test_export_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And another ending is refused, before anything is read."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"barnabas\[parquet\]"):
        open_writer(tmp_path / "out.parquet")
    with pytest.raises(SettingsError, match=r"\.jsonl"):
        open_writer(tmp_path / "out.csv")
    with pytest.raises(SettingsError, match="cannot be written"):
        open_writer(tmp_path / "no" / "out.jsonl")
