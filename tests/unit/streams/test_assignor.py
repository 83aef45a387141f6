"""Who owns what, and who keeps a copy: balanced, sticky, and where the copies lie."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.assignor import Copies, assign

MEMBERS = ["a", "b", "c", "d", "e"]


@st.composite
def groups(draw: st.DrawFn) -> tuple[int, dict[str, Copies], int]:
    """Any number of partitions, whatever each member believes to have had, and any number of replicas."""
    partitions = draw(st.integers(1, 20))
    some = st.sets(st.integers(0, partitions + 2))  # a deployment never shrinks, but a member may say so
    members = {name: Copies(draw(some), draw(some)) for name in draw(st.sets(st.sampled_from(MEMBERS), min_size=1))}
    return partitions, members, draw(st.integers(0, 3))


def owned(found: Mapping[str, Copies]) -> dict[str, set[int]]:
    """What each member owns."""
    return {member: copies.owned for member, copies in found.items()}


@given(groups())
@settings(max_examples=300)
def test_assign_every_partition_has_one_owner_and_as_many_copies_as_members_allow(
    group: tuple[int, dict[str, Copies], int],
) -> None:
    """Owners differ by one partition at most, copies are spread, and no copy lies at its owner.

    Mutant: ``quota`` of ``least + 1`` for all, as Faust's with standbys: a member gets none.
    """
    partitions, members, replicas = group
    found = assign(partitions, members, replicas)

    assert Counter(p for copies in found.values() for p in copies.owned) == Counter(range(partitions))
    sizes = [len(copies.owned) for copies in found.values()]
    assert max(sizes) - min(sizes) <= 1
    held = Counter(p for copies in found.values() for p in copies.held)
    assert held == Counter({p: min(replicas, len(members) - 1) for p in range(partitions)})
    assert all(not copies.owned & copies.held for copies in found.values())


@given(groups())
@settings(max_examples=100)
def test_assign_again_changes_nothing(group: tuple[int, dict[str, Copies], int]) -> None:
    """Stable, and the same in whatever order members come. Mutant: ``members`` not sorted."""
    partitions, members, replicas = group
    found = assign(partitions, members, replicas)

    assert assign(partitions, dict(reversed([*found.items()])), replicas) == found


def test_assign_after_a_member_died_the_holders_of_its_copies_take_over() -> None:
    """Nothing moves that need not, and each lost partition goes to its copy. Mutant: ``near`` ignored in ``_place``."""
    left = {"a": Copies({0}, {3, 5}), "b": Copies({1}, {2, 4})}

    assert owned(assign(6, left, 1)) == {"a": {0, 3, 5}, "b": {1, 2, 4}}


def test_assign_a_worker_that_comes_back_gets_what_its_disk_holds() -> None:
    """A rolling restart moves partitions back to their files. Mutant: ``wanted`` ignored in ``_shed``."""
    back = {3, 4, 5, 12, 13, 14, 15, 0}
    found = assign(16, {"a": Copies(set(range(16))), "b": Copies(held=back)}, 0)

    assert owned(found)["b"] == back


def test_assign_two_owners_of_a_partition_one_keeps_it() -> None:
    """One of them is a zombie; which one does not matter."""
    found = assign(4, {"a": Copies({0, 1, 2}), "b": Copies({1, 2, 3})}, 1)

    assert owned(found) == {"a": {0, 1}, "b": {2, 3}}
