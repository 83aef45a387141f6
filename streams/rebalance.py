"""After each rebalance: recover, place the cursors, resume. In place of Faust's recovery service.

Faust's own reads the changelog through the stream consumer event by event, sleeps a second at fixed places (R3),
can end without a sign (F10), hangs on emptied or compacted changelogs (F17) and applies records of untracked
partitions to another table (F16).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from aiokafka.errors import KafkaError, KafkaTimeoutError
from faust.tables import TableManager
from faust.types import TP
from mode import Service
from tenacity import AsyncRetrying, before_sleep_log, retry_if_exception, stop_after_delay, wait_exponential

from state.changelog import ChangelogUnreadableError
from state.recovery import Recovery
from streams.ownership import Ownership

logger = logging.getLogger(__name__)

#: Pause before a rebalance that met an outage is settled again, doubled each time, in seconds.
_AGAIN_S: Final = 0.2
_AGAIN_MAX_S: Final = 5.0


def _is_outage(error: BaseException) -> bool:
    """Whether the broker did not answer, so that asking again may help."""
    return isinstance(error, (ChangelogUnreadableError, KafkaTimeoutError)) or (
        isinstance(error, KafkaError) and error.retriable
    )


class Rebalance(Service):
    """Runs one recovery at a time; a newer generation interrupts it."""

    def __init__(self, app: Any, **kwargs: Any) -> None:
        self.app = app
        super().__init__(**kwargs)
        #: Set once the first recovery is done; Faust's boot waits for it.
        self.completed = asyncio.Event()
        self._wanted = asyncio.Event()

    @property
    def _ownership(self) -> Ownership:
        ownership: Ownership = self.app.barnabas.ownership
        return ownership

    @property
    def _recovery(self) -> Recovery:
        recovery: Recovery = self.app.barnabas.recovery
        return recovery

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Nothing to flush: recovery has no buffers."""

    def begin(self) -> None:
        """Have the new generation recovered."""
        self._wanted.set()

    @Service.task  # type: ignore[untyped-decorator]  # mode has no types
    async def _run(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self._wanted):
                return
            self._wanted.clear()
            settling = asyncio.ensure_future(self._settle_at_last())
            again = asyncio.ensure_future(self._wanted.wait())
            stopped = asyncio.ensure_future(self._stopped.wait())
            try:
                await asyncio.wait({settling, again, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (again, stopped):
                    task.cancel()
                if not settling.done():
                    settling.cancel()
                await asyncio.gather(settling, again, stopped, return_exceptions=True)
            if not settling.cancelled() and settling.exception() is not None:
                logger.error("recovery failed: %s", settling.exception())
                await self.app.crash(settling.exception())  # F10: never a silent end

    async def _settle_at_last(self) -> None:
        """Settle; a broker that is away is waited for, within the recovery's deadline."""
        limits = self._ownership.env.limits
        async for attempt in AsyncRetrying(
            retry=retry_if_exception(_is_outage),
            wait=wait_exponential(_AGAIN_S, max=_AGAIN_MAX_S),
            stop=stop_after_delay(limits.recovery_timeout_s),
            before_sleep=before_sleep_log(logger, logging.WARNING),
            reraise=True,
        ):
            with attempt:
                await self._settle()

    async def _settle(self) -> None:
        app, ownership, standbys = self.app, self._ownership, self.app.barnabas.standbys
        generation = ownership.generation
        await standbys.release()  # one writer a partition: what becomes owned is no longer followed
        recovered = await self._recovery.run(set(ownership.owned), set(ownership.fresh))
        if generation != ownership.generation or generation != app.consumer_generation_id:
            return  # a newer assignment is on its way
        if not await ownership.recovered(recovered):
            return
        await app.on_rebalance_complete.send()
        if generation != ownership.generation:
            return
        self.completed.set()
        app.flow_control.resume()
        app.consumer.resume_flow()
        await app._fetcher.maybe_start()
        if generation != ownership.generation:
            return  # not recovered yet: it settles next
        app.tables.on_actives_ready()
        app.tables.on_standbys_ready()
        app.on_rebalance_end()
        ownership.open()
        standbys.follow(app.assignor.standbys(ownership.env.names.changelog))


class SessionTableManager(TableManager):
    """Faust's table manager with our recovery, and without its fixed second of sleep (R3)."""

    _rebalance: Rebalance | None = None

    @property
    def recovery(self) -> Rebalance:
        """Our recovery service."""
        if self._rebalance is None:
            self._rebalance = self._recovery = Rebalance(self.app, beacon=self.beacon, loop=self.loop)
        return self._rebalance

    async def on_start(self) -> None:
        """Register the changelog and start recovery at once."""
        await self._update_channels()
        await self.recovery.start()

    async def on_rebalance(self, *_assigned: set[TP], **_kwargs: int) -> None:
        """Have the new generation recovered."""
        self._recovery_started.set()
        self.recovery.begin()
