"""Faults, injected by patching the classes of a test's worker; nothing of this is in the product.

Two kinds. ``Faults`` break something on purpose at a known moment (a kill between two writes, a delivery dropped).
``switch_off`` takes a mechanism of ours away, to see that the test of its guarantee fails without it: run any crash
or fence test with ``BARNABAS_TEST_OFF=NAME[,NAME]`` in the environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong in a worker, and when; 0 or None is never.

    Attributes:
        kill_before_store_write: SIGKILL itself before the n-th RocksDB batch with a confirmed outcome.
        kill_after_store_write: ... right after it.
        kill_after_forward: SIGKILL itself when the n-th re-routed message is confirmed, before it is acknowledged.
        mute_changelog: Nothing reaches the changelog: outcomes are in the log, the table never hears of them.
        projector_lag_s: The projector gets its first deliveries that much later.
        drop_deliveries: These deliveries (counted from 1, all topics) never reach an agent's channel.
        lose_fetches: These non-empty fetches (counted from 1) vanish between aiokafka and our loop.
    """

    kill_before_store_write: int = 0
    kill_after_store_write: int = 0
    kill_after_forward: int = 0
    mute_changelog: bool = False
    projector_lag_s: float = 0.0
    drop_deliveries: tuple[int, ...] = ()
    lose_fetches: tuple[int, ...] = ()


Patch = Callable[[Any, str, Any], None]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def inject(faults: Faults, patch: Patch = setattr) -> None:
    """Patch the classes; ``patch`` is ``setattr`` in a worker's own process, ``monkeypatch.setattr`` in a test's."""
    if faults.kill_before_store_write or faults.kill_after_store_write:
        _kill_at_store_write(faults, patch)
    if faults.kill_after_forward:
        _kill_after_forward(faults.kill_after_forward, patch)
    if faults.mute_changelog:
        from streams.publisher import Publisher

        patch(Publisher, "changelog", lambda *_args: None)
    if faults.projector_lag_s:
        _lag_projector(faults.projector_lag_s, patch)
    if faults.drop_deliveries:
        _drop_deliveries(set(faults.drop_deliveries), patch)
    if faults.lose_fetches:
        _lose_fetches(set(faults.lose_fetches), patch)


def _kill_at_store_write(faults: Faults, patch: Patch) -> None:
    from schemas.serdes import Codec
    from state.store import SessionStore
    from state.value import ValueCodec

    write, count, codec = SessionStore.write, 0, ValueCodec(Codec())

    def has_outcome(values: dict[bytes, bytes]) -> bool:
        sessions = (codec.decode_session(value) for key, value in values.items() if not key.startswith(b"\x00"))
        return any(session.open_turn is None for session in sessions)

    def counted(self: SessionStore, partition: int, values: dict[bytes, bytes], position: int | None) -> None:
        nonlocal count
        # Recovery writes, too, from a thread; a value whose turn still runs is written again soon.
        is_ours = asyncio._get_running_loop() is not None and has_outcome(values)
        count += is_ours
        if is_ours and count == faults.kill_before_store_write:
            _die()
        write(self, partition, values, position)
        if is_ours and count == faults.kill_after_store_write:
            _die()

    patch(SessionStore, "write", counted)


def _kill_after_forward(number: int, patch: Patch) -> None:
    from streams.publisher import Publisher

    forward, count = Publisher.forward, 0

    def counted(self: Publisher, record: Any) -> None:
        def delivered(error: Any, offset: int) -> None:
            nonlocal count
            count += 1
            if count == number:
                _die()
            record.on_delivery(error, offset)

        forward(self, record._replace(on_delivery=delivered))

    patch(Publisher, "forward", counted)


def _lag_projector(seconds: float, patch: Patch) -> None:
    from streams.projector import Projector

    handle = Projector.handle
    waiting: list[Any] = []
    state = {"is_on": True, "is_timed": False}

    def late(self: Projector, delivery: Any) -> None:
        if not state["is_on"]:
            handle(self, delivery)
            return
        waiting.append(delivery)
        if not state["is_timed"]:
            state["is_timed"] = True
            asyncio.get_running_loop().call_later(seconds, catch_up, self)

    def catch_up(self: Projector) -> None:
        state["is_on"] = False
        for delivery in waiting:
            handle(self, delivery)
        waiting.clear()

    patch(Projector, "handle", late)


def _drop_deliveries(numbers: set[int], patch: Patch) -> None:
    from streams.consumer import SessionConsumer

    delivery_of, count = SessionConsumer._delivery, 0

    def dropping(self: SessionConsumer, tp: Any, batch: list[Any]) -> Any:
        nonlocal count
        delivery = delivery_of(self, tp, batch)  # handed over, as far as our loop knows
        count += delivery is not None
        return None if delivery is not None and count in numbers else delivery

    patch(SessionConsumer, "_delivery", dropping)


def _lose_fetches(numbers: set[int], patch: Patch) -> None:
    from streams.consumer import LeasedConsumerThread

    fetch, count = LeasedConsumerThread._fetch_records, 0

    async def losing(self: LeasedConsumerThread, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        records = await fetch(self, *args, **kwargs)
        count += bool(records)
        return {} if records and count in numbers else records

    patch(LeasedConsumerThread, "_fetch_records", losing)


# ------------------------------------------------------------------------------------------------ mechanisms taken away


def switch_off(names: str, patch: Patch = setattr) -> None:
    """Take mechanisms away, by name, comma separated."""
    for name in filter(None, names.split(",")):
        _OFF[name](patch)


def _no_barrier(patch: Patch) -> None:
    """Lanes begin before the owner's own opening is folded."""
    from streams.partition import Partition

    patch(Partition, "when_open", lambda self, begin: begin())


def _no_dedupe(patch: Patch) -> None:
    """A redelivered message is decided anew."""
    import streams.partition

    patch(streams.partition, "is_decided", lambda *_args: False)


def _no_epochs(patch: Patch) -> None:
    """The fold takes records of every epoch (rule 1)."""
    from state import fold
    from state.partition_fold import PartitionFold

    def apply(self: Any, session: Any, event: Any, *, offset: int) -> Any:
        return fold.fold(session, event, offset=offset, epoch=event.attempt.epoch)

    patch(PartitionFold, "apply", apply)


def _no_gap_check(patch: Patch) -> None:
    """A delivery is taken whatever was lost before it."""
    from streams.delivery import Admission, Cursor

    def admit(self: Any, delivery: Any) -> Admission:
        self.handled = max(self.handled, delivery.end)
        return Admission.NEXT

    patch(Cursor, "admit", admit)


def _no_tail_check(patch: Patch) -> None:
    """Nobody looks for fetched records that never arrived."""
    from streams.delivery import Cursor

    patch(Cursor, "is_missing_tail", lambda self: False)


def _no_position_check(patch: Patch) -> None:
    """Nobody compares aiokafka's positions with what came out of it."""
    from streams.consumer import LeasedConsumerThread

    async def positions(_self: Any) -> dict[Any, int]:
        return {}

    patch(LeasedConsumerThread, "positions", positions)


def _dead_letter_when_open(patch: Patch) -> None:
    """A dead letter that is met before the barrier is dropped."""
    from streams.dead_letters import DeadLetters

    put = DeadLetters.put

    def put_when_open(self: Any, owner: Any, *args: Any, **kwargs: Any) -> None:
        if owner.is_open:
            put(self, owner, *args, **kwargs)

    patch(DeadLetters, "put", put_when_open)


def _no_ack_order(patch: Patch) -> None:
    """The commit follows what was delivered, done or not (F1)."""
    from streams.acks import AckTracker

    patch(AckTracker, "watermark", property(lambda self: self._end))


def _no_monotonic_apply(patch: Patch) -> None:
    """Recovery applies the last record of a key, however old its value."""
    import state.store

    def header_of(value: bytes) -> Any:
        from state.value import header_of as real

        return real(value)._replace(folded=0)

    patch(state.store, "header_of", header_of)


def _no_repair(patch: Patch) -> None:
    """A foreign record in the changelog is stepped over: no hole is seen, nothing is sent again."""
    from state.overlay import Overlay
    from state.write_path import WritePath

    def advance(self: Any, offset: int) -> None:
        self.position = offset

    patch(Overlay, "advance", advance)
    patch(WritePath, "resend", lambda *_args: None)


def _no_pinned_id(patch: Patch) -> None:
    """A re-routed message gets a new id where it lands."""
    import streams.intake

    patch(
        streams.intake,
        "_first_seen",
        lambda record: f"{record.topic}-{record.partition}-{record.offset}",
    )


def _no_forward(patch: Patch) -> None:
    """A message is handled where it landed."""
    from streams.intake import Intake

    patch(Intake, "_is_misplaced", lambda self, record: False)


def _ack_at_once(patch: Patch) -> None:
    """A message is acknowledged when its lane takes it, before its outcome is in the log."""
    from streams.partition import Partition

    offer = Partition.offer

    def early(self: Any, incoming: Any) -> None:
        incoming.acknowledge()
        offer(self, incoming)

    patch(Partition, "offer", early)


def _store_first(patch: Patch) -> None:
    """RocksDB is written before the changelog (T1), and the record is sent as the last thing."""
    from state.write_path import WritePath

    send_value = WritePath._send_value

    def early(self: Any, overlay: Any, key: bytes) -> None:
        entry = overlay.entries.get(key)
        if entry is not None and entry.value is not None:
            self._store.write(overlay.partition, {key: self._codec.encode(entry.value)}, None)
            for receipt in entry.receipts:
                receipt()
        send_value(self, overlay, key)

    patch(WritePath, "_send_value", early)


def _no_cancel_of_lost(patch: Patch) -> None:
    """Lanes of lost partitions run on (F12, B2)."""
    from streams.partition import Partition, Phase

    patch(Partition, "close", lambda self: setattr(self, "phase", Phase.CLOSED))


def _drop_all_on_rebalance(patch: Patch) -> None:
    """Every rebalance cancels all turns, also those of partitions that stay."""
    from streams.ownership import Ownership

    on_rebalanced = Ownership.on_rebalanced

    def drop(self: Any, generation: int, member_id: str, assigned: Any) -> None:
        self._member_id = ""
        on_rebalanced(self, generation, member_id, assigned)

    patch(Ownership, "on_rebalanced", drop)


def _no_drain(patch: Patch) -> None:
    """SIGTERM ends running turns at once."""
    from streams.worker import Worker

    async def drain(self: Any) -> None:
        return

    patch(Worker, "_drain", drain)


def _no_lease(patch: Patch) -> None:
    """A worker never doubts that its partitions are its own."""
    from streams.lease import Lease

    patch(Lease, "is_over", property(lambda self: False))


def _keep_held(patch: Patch) -> None:
    """What was held before a partition was opened again begins before what is read again."""
    from streams.partition import Partition

    patch(Partition, "discard_held", lambda self: None)


_OFF: dict[str, Callable[[Patch], None]] = {
    "ack_at_once": _ack_at_once,
    "ack_order": _no_ack_order,
    "barrier": _no_barrier,
    "cancel_of_lost": _no_cancel_of_lost,
    "dedupe": _no_dedupe,
    "discard_held": _keep_held,
    "drain": _no_drain,
    "epochs": _no_epochs,
    "forward": _no_forward,
    "gap_check": _no_gap_check,
    "keep": _drop_all_on_rebalance,
    "lease": _no_lease,
    "monotonic": _no_monotonic_apply,
    "dead_letter_barrier": _dead_letter_when_open,
    "position_check": _no_position_check,
    "pinned_id": _no_pinned_id,
    "repair": _no_repair,
    "store_first": _store_first,
    "tail_check": _no_tail_check,
}
