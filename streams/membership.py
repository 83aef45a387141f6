"""The membership: what the group's coordinator last made of this worker, noted in the thread that runs aiokafka."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka.errors import IllegalGenerationError, NoError, RebalanceInProgressError
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from streams.lease import Lease

#: What the coordinator answers to a member alone.
_TO_MEMBERS: Final = frozenset({NoError.errno, RebalanceInProgressError.errno})


class Membership:
    """Keeps the lease by the coordinator's answers (R2), and lets nobody commit but the generation that was assigned.

    aiokafka commits under whatever generation it has by then: after an expulsion under none, which Kafka takes while
    the group is empty, and after a rebalance that the event loop has not heard of under the next.
    """

    def __init__(self, coordinator: Any, lease: Lease, assigned: Callable[[], int]) -> None:
        """Wrap aiokafka's coordinator, which has no hooks.

        Args:
            coordinator: aiokafka's, of a consumer that has started.
            lease: The worker's.
            assigned: The generation whose assignment the event loop knows, -1 before the first.
        """
        self._coordinator = coordinator
        self._lease = lease
        self._assigned = assigned
        self._is_joining = False
        #: When the newest assignment was asked for, on the lease's clock.
        self.synced_at = lease.now()
        self._do_heartbeat = coordinator._do_heartbeat
        self._send_req = coordinator._send_req
        self._do_commit_offsets = coordinator._do_commit_offsets
        self._reset_generation = coordinator.reset_generation
        coordinator._do_heartbeat = self._heartbeat
        coordinator._send_req = self._request
        coordinator._do_commit_offsets = self._commit
        coordinator.reset_generation = self._expelled

    async def _heartbeat(self) -> bool:
        sent_at, generation = self._lease.now(), self._coordinator.generation
        is_good: bool = await self._do_heartbeat()
        if is_good and self._coordinator.generation == generation:
            self._lease.renew(sent_at)
        return is_good

    async def _request(self, request: Any) -> Any:
        """Send a request; one that joins has the coordinator wait for us, for as long as it answers as to a member."""
        is_join = isinstance(request, JoinGroupRequest)
        if not is_join and not isinstance(request, SyncGroupRequest):
            return await self._send_req(request)
        sent_at, is_member = self._lease.now(), False
        if is_join:
            self._lease.joining = self._is_joining = True
        try:
            response = await self._send_req(request)
            is_member = response.error_code in _TO_MEMBERS
        finally:
            self._is_joining = False
            if not is_member:
                self._lease.joining = False  # it may not have heard us: the last heartbeat counts
        if not is_join:
            self.synced_at = sent_at
        return response

    async def _commit(self, assignment: Any, offsets: Mapping[Any, Any]) -> None:
        """Commit, unless the coordinator would take it for another generation than the one that means it."""
        # Behind a request to join, on the same connection, it would be answered when the generation is over, and
        # aiokafka would take that for an expulsion.
        if self._is_joining or not assignment.active or not self._is_assigned:
            raise IllegalGenerationError
        await self._do_commit_offsets(assignment, offsets)

    @property
    def _is_assigned(self) -> bool:
        generation: int = self._coordinator.generation
        return bool(self._coordinator.member_id) and generation >= 0 and generation == self._assigned()

    def _expelled(self) -> None:
        self._reset_generation()
        self._lease.end()
