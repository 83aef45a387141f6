"""Lists of several workers and of the log become one, page by page."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barnabas.gateway.reads import Part, merge
from schemas.session import Session
from streams.reading.listing import Listed, Scan, listing
from streams.reading.views import Selection, SessionState, SessionSummary, summary_of

IDS = st.text(st.sampled_from("aäbz/é€𝄞"), min_size=1, max_size=3)

Tables = dict[int, dict[bytes, Session]]


def tables_of(sessions: dict[str, int], partitions: int) -> Tables:
    """Sessions with the time of their last change, spread over partitions."""
    tables: Tables = {number: {} for number in range(partitions)}
    for number, (name, updated_at) in enumerate(sorted(sessions.items())):
        session = Session(session_id=name, folded=1, updated_at=updated_at)
        tables[(number * 7 + len(name)) % partitions][name.encode()] = session
    return tables


def scan_of(table: dict[bytes, Session], prefix: bytes) -> Scan:
    """As the store's."""

    def scan(after: bytes, count: int) -> list[tuple[bytes, Session]]:
        keys = sorted(key for key in table if key > after and key.startswith(prefix))[:count]
        return [(key, table[key]) for key in keys]

    return scan


def run(scans: dict[int, Scan], selection: Selection, *, after: str, limit: int, budget: int = 4) -> Listed:
    """Take a listing to its end."""
    steps = listing(scans, selection, after=after.encode(), limit=limit, budget=budget, step=2)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Listed = end.value
            return found


def part_of(listed: Listed) -> Part:
    """As a worker's answer."""
    reached = None if listed.reached is None else listed.reached.decode()
    return Part([summary for _, summary in listed.sessions], reached)


@given(
    sessions=st.dictionaries(IDS, st.integers(0, 3), min_size=12, max_size=40),
    new=st.dictionaries(IDS, st.integers(0, 3), max_size=6),
    limit=st.integers(1, 12),
    selection=st.builds(
        Selection,
        prefix=st.sampled_from(["", "a", "a/", "é"]),
        is_tenantless=st.booleans(),
        since=st.none() | st.integers(0, 3),
    ),
)
def test_pages_over_workers_give_every_session_exactly_once(
    sessions: dict[str, int], new: dict[str, int], limit: int, selection: Selection
) -> None:
    """Three workers of one and two partitions; sessions come while pages are read. Keys are in the order of bytes.

    Without the bound (``reached``) a worker whose budget ran out hides what another has behind it.
    """
    tables = tables_of(sessions, 5)
    scans = {number: scan_of(table, selection.prefix.encode()) for number, table in tables.items()}
    workers = [(0, 1), (2, 3), (4,)]
    found: list[SessionSummary] = []
    after: str | None = ""
    pages = 0
    while after is not None:
        parts = [
            part_of(run({number: scans[number] for number in owned}, selection, after=after, limit=limit))
            for owned in workers
        ]
        page = merge(parts, limit)
        assert len(page.sessions) <= limit
        assert page.reached is None or page.reached > after
        found += page.sessions
        after = page.reached
        pages += 1
        if pages == 1:
            for number, table in tables_of({name: at for name, at in new.items() if name not in sessions}, 5).items():
                tables[number].update(table)
    ids = [session.session_id for session in found]
    wanted = {
        name
        for name, at in sessions.items()
        if selection.takes(summary_of(Session(session_id=name, folded=1, updated_at=at)))
        and name.startswith(selection.prefix)
    }
    assert ids == sorted({*ids}, key=str.encode)
    assert wanted <= {*ids} <= wanted | new.keys()


def test_partition_that_goes_away_gives_nothing() -> None:
    """Its sessions are asked of the next owner: what was read before is left out, and the others' is not."""
    tables = tables_of(dict.fromkeys("abcdefgh", 0), 2)
    whole = scan_of(tables[1], b"")
    reads = 0

    def going(after: bytes, count: int) -> list[tuple[bytes, Session]] | None:
        nonlocal reads
        reads += 1
        return whole(after, count) if reads == 1 else None

    listed = run({0: scan_of(tables[0], b""), 1: going}, Selection(), after="", limit=10, budget=100)
    assert listed.lost == {1}
    assert [summary.session_id for _, summary in listed.sessions] == [key.decode() for key in sorted(tables[0])]


def test_selection_takes_what_fits_all_conditions() -> None:
    """Erased sessions, and keys that only rejected events name, are in no list."""
    idle = summary_of(Session(session_id="a", agent="poet", folded=3, updated_at=10))
    assert idle.state is SessionState.IDLE
    assert Selection(agent="poet", state=SessionState.IDLE, since=10, until=11).takes(idle)
    for refused in (
        Selection(agent="other"),
        Selection(state=SessionState.RUNNING),
        Selection(since=11),
        Selection(until=10),
    ):
        assert not refused.takes(idle)
    assert not Selection().takes(summary_of(Session(session_id="a")))
    assert Selection(is_tenantless=True).takes(idle)
    assert not Selection(is_tenantless=True).takes(summary_of(Session(session_id="t/a", folded=3)))
