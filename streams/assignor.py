"""Who owns which partition, and who keeps a copy: decided by the group's leader, in place of Faust's choice.

Faust's own fills members to the brim where there are standbys (a third worker of four partitions gets none) and takes
arbitrary partitions from a full member (a worker that comes back gets others than those on its disk). Its protocol,
metadata and leader's part stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor


@dataclass(slots=True)
class Copies:
    """One member's partitions.

    Attributes:
        owned: The ones it handles.
        held: Others of which it has a copy on its disk.
    """

    owned: set[int] = field(default_factory=set)
    held: set[int] = field(default_factory=set)


def assign(partitions: int, members: Mapping[str, Copies], replicas: int) -> dict[str, Copies]:
    """Balance partitions over members, moving as few as possible, and those to where a copy lies.

    Deterministic: the same input gives the same answer, in whatever order the members come.

    Args:
        partitions: N.
        members: What each has had, by member id; at least one.
        replicas: Copies wanted of each partition beside its owner's, as far as there are members.

    Returns:
        By member: what it owns, and of which partitions it is to keep a copy.
    """
    ids = sorted(members)
    owner: dict[int, str] = {}
    for member in ids:
        for partition in members[member].owned:
            if 0 <= partition < partitions:
                owner.setdefault(partition, member)  # two owners: one of them is a zombie
    owned = {member: {p for p, o in owner.items() if o == member} for member in ids}
    least, extra = divmod(partitions, len(ids))
    # The members that own most may keep one more than the least.
    quota = {
        member: least + (rank < extra) for rank, member in enumerate(sorted(ids, key=lambda m: (-len(owned[m]), m)))
    }
    for member in ids:
        _shed(member, owned, quota, members)
    missing = set(range(partitions)).difference(*owned.values())
    _place(missing, owned, quota, members)
    held = _standbys(partitions, owned, members, min(replicas, len(ids) - 1))
    return {member: Copies(owned[member], held[member]) for member in ids}


def _shed(member: str, owned: Mapping[str, set[int]], quota: Mapping[str, int], members: Mapping[str, Copies]) -> None:
    """Take from a member what is beyond its quota, first what another that has room holds a copy of."""
    wanted = {p for m in owned if len(owned[m]) < quota[m] for p in members[m].held}
    surplus = len(owned[member]) - quota[member]
    if surplus > 0:
        owned[member].difference_update(sorted(owned[member], key=lambda p: (p not in wanted, -p))[:surplus])


def _place(
    missing: set[int], owned: Mapping[str, set[int]], quota: Mapping[str, int], members: Mapping[str, Copies]
) -> None:
    """Give what nobody owns to a holder of a copy, the ones with fewest holders first; then to whoever has room."""

    def holders(partition: int) -> list[str]:
        return [member for member in sorted(members) if partition in members[member].held]

    for partition in sorted(missing, key=lambda p: (not holders(p), len(holders(p)), p)):
        room = [member for member in sorted(owned) if len(owned[member]) < quota[member]]
        near = [member for member in room if partition in members[member].held]
        owned[min(near or room, key=lambda member: len(owned[member]) - quota[member])].add(partition)


def _standbys(
    partitions: int, owned: Mapping[str, set[int]], members: Mapping[str, Copies], replicas: int
) -> dict[str, set[int]]:
    held: dict[str, set[int]] = {member: set() for member in sorted(owned)}
    most = -(-partitions * replicas // len(held))
    for partition in range(partitions):
        others = [member for member in held if partition not in owned[member]]
        had = [m for m in others if partition in members[m].held | members[m].owned and len(held[m]) < most]
        rest = sorted((m for m in others if m not in had), key=lambda member: (len(held[member]), member))
        for member in [*had, *rest][:replicas]:
            held[member].add(partition)
    return held


class SessionAssignor(PartitionAssignor):
    """Faust's assignor with :func:`assign` for its choice; all our topics have the same partitions."""

    def remember(self, partitions: Iterable[int], topics: Iterable[str]) -> None:
        """Tell the leader, before the group is joined, of which partitions a copy lies on this disk."""
        self._assignment = ClientAssignment(actives={}, standbys={topic: sorted(partitions) for topic in topics})

    def standbys(self, changelog: str) -> set[int]:
        """Return the partitions whose copy this member keeps."""
        return {tp.partition for tp in self.assigned_standbys() if tp.topic == changelog}

    def _perform_assignment(self, cluster: Any, member_metadata: Any) -> Any:
        clients = {member: self._get_client_metadata(metadata) for member, metadata in member_metadata.items()}
        self._update_member_urls(clients)
        topics = sorted({topic for metadata in member_metadata.values() for topic in metadata.subscription})
        # A broker that has just started may not have told of the topics yet. To count them as empty would leave every
        # partition without an owner until the leader's metadata is old, five minutes later.
        known = self.app.conf.topic_partitions
        counts = {topic: len(cluster.partitions_for_topic(topic) or ()) or known for topic in topics}
        members = {member: _copies(metadata.assignment) for member, metadata in clients.items()}
        assignments = {
            member: ClientAssignment(
                # A topic with fewer partitions gets no others: the owner's check ends it with a clear error (R1).
                actives={topic: sorted(p for p in copies.owned if p < counts[topic]) for topic in topics},
                standbys={topic: sorted(p for p in copies.held if p < counts[topic]) for topic in topics},
            )
            for member, copies in assign(max(counts.values()), members, self.replicas).items()
        }
        return self._protocol_assignments(
            assignments,
            self._get_changelog_distribution(assignments),
            self._get_external_topic_distribution(assignments),
            dict.fromkeys(topics, 0),
        )


def _copies(assignment: Any) -> Copies:
    """What a member says that it has had: the same of each topic."""

    def of(by_topic: Mapping[str, list[int]]) -> set[int]:
        return {partition for numbers in by_topic.values() for partition in numbers}

    known = cast("ClientAssignment", assignment)
    return Copies(of(known.actives), of(known.standbys) - of(known.actives))
