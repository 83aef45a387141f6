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
from contextlib import suppress
from typing import Any

import msgspec


class Faults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong in a worker, and when; 0 or None is never.

    Attributes:
        kill_before_store_write: SIGKILL itself before the n-th RocksDB batch with a confirmed outcome.
        kill_after_store_write: ... right after it.
        kill_after_forward: SIGKILL itself when the n-th re-routed message is confirmed, before it is acknowledged.
        kill_before_terminal: SIGKILL itself when the n-th terminal token is due: its outcome is folded, nobody told.
        mute_changelog: Nothing reaches the changelog: outcomes are in the log, the table never hears of them.
        projector_lag_s: The projector gets its first deliveries that much later.
        drop_deliveries: These deliveries (counted from 1, all topics) never reach an agent's channel.
        lose_fetches: These non-empty fetches (counted from 1) vanish between aiokafka and our loop.
        hold_at: By session, where its turn stops for ever: ``step`` (a model call that asks for tools is in the
            log), ``called`` (so is the call of a tool, folded), ``ran`` (the tool has had its effect), ``returned``
            (its result is in the log).
    """

    kill_before_store_write: int = 0
    kill_after_store_write: int = 0
    kill_after_forward: int = 0
    kill_before_terminal: int = 0
    mute_changelog: bool = False
    projector_lag_s: float = 0.0
    drop_deliveries: tuple[int, ...] = ()
    lose_fetches: tuple[int, ...] = ()
    hold_at: dict[str, str] = {}


Patch = Callable[[Any, str, Any], None]


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def inject(faults: Faults, patch: Patch = setattr) -> None:
    """Patch the classes; ``patch`` is ``setattr`` in a worker's own process, ``monkeypatch.setattr`` in a test's."""
    if faults.kill_before_store_write or faults.kill_after_store_write:
        _kill_at_store_write(faults, patch)
    if faults.kill_after_forward:
        _kill_after_forward(faults.kill_after_forward, patch)
    if faults.kill_before_terminal:
        _kill_before_terminal(faults.kill_before_terminal, patch)
    if faults.mute_changelog:
        from streams.publisher import Publisher

        patch(Publisher, "changelog", lambda *_args: None)
    if faults.projector_lag_s:
        _lag_projector(faults.projector_lag_s, patch)
    if faults.drop_deliveries:
        _drop_deliveries(set(faults.drop_deliveries), patch)
    if faults.hold_at:
        _hold(faults.hold_at, patch)
    if faults.lose_fetches:
        _lose_fetches(set(faults.lose_fetches), patch)


def _hold(places: dict[str, str], patch: Patch) -> None:
    from streams.steps import Steps
    from streams.tool_runner import ToolRunner

    use_tools, run, use_tool = Steps._use_tools, ToolRunner.run, Steps._use_tool

    async def hold(session_id: str, place: str) -> None:
        if places.get(session_id) == place:
            await asyncio.get_running_loop().create_future()

    async def held_use_tools(self: Steps, output: Any, known: Any) -> None:
        await hold(self._incoming.session_id, "step")
        await use_tools(self, output, known)

    async def held_run(self: ToolRunner, tool: Any, arguments: str, context: Any) -> Any:
        await hold(context.session_id, "called")
        output = await run(self, tool, arguments, context)
        await hold(context.session_id, "ran")
        return output

    async def held_use_tool(self: Steps, step: int, call: Any, known: Any) -> str:
        text = await use_tool(self, step, call, known)
        await hold(self._incoming.session_id, "returned")
        return text

    patch(Steps, "_use_tools", held_use_tools)
    patch(ToolRunner, "run", held_run)
    patch(Steps, "_use_tool", held_use_tool)


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


def _kill_before_terminal(number: int, patch: Patch) -> None:
    from schemas.tokens import TERMINAL_KINDS
    from streams.publisher import Publisher

    send, count = Publisher.token, 0

    def counted(self: Publisher, partition: int, key: bytes, token: Any, *more: Any) -> None:
        nonlocal count
        count += token.kind in TERMINAL_KINDS
        if count == number:
            _die()
        send(self, partition, key, token, *more)

    patch(Publisher, "token", counted)


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
    from streams.consumer_thread import LeasedConsumerThread

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


def _no_attempts(patch: Patch) -> None:
    """A stream takes every attempt's tokens for the same one."""
    from barnabas.stream_fold import TurnFold

    apply = TurnFold.apply

    def apply_any(self: Any, token: Any) -> Any:
        from msgspec.structs import replace

        return apply(
            self, replace(token, attempt=self.attempt or token.attempt, index=max(token.index, self._expected))
        )

    patch(TurnFold, "apply", apply_any)


def _no_cursors(patch: Patch) -> None:
    """A stream begins with what is written from now on, whatever cursor it is given."""
    from barnabas.client.stream import TokenStream

    start = TokenStream.start

    async def start_now(self: Any) -> Any:
        self._after = None
        return await start(self)

    patch(TokenStream, "start", start_now)


def _no_stream_cursors(patch: Patch) -> None:
    """The gateway's streams begin with what is written from now on, whatever cursor they are given."""
    from barnabas.gateway import session_reader

    async def subscribe_now(self: Any, session_id: str, *, after: Any, **options: Any) -> Any:
        return await subscribe(self, session_id, after=None, **{**options, "look_back": 0})

    subscribe = session_reader.Client.subscribe
    patch(session_reader.Client, "subscribe", subscribe_now)


def _no_token_filter(patch: Patch) -> None:
    """The gateway's streams show every record."""
    from barnabas.gateway.token_filter import TokenFilter

    patch(TokenFilter, "shows", lambda _self, _token: True)


def _no_look_back(patch: Patch) -> None:
    """Who goes on from a cursor is told nothing of what was before it."""
    from barnabas.gateway.token_filter import TokenFilter

    patch(TokenFilter, "look_back", lambda _self, _token: None)


def _no_send_timeout(patch: Patch) -> None:
    """The gateway waits for ever for a client that takes nothing."""
    from barnabas.gateway import completion_stream, streams, websocket
    from barnabas.gateway.write_watch import WriteWatch

    for module in (completion_stream, streams, websocket):
        patch(module, "abort", lambda _scope: None)
    patch(WriteWatch, "begin", lambda _self, _transport: None)


def _no_barrier(patch: Patch) -> None:
    """Messages are fetched, and lanes begin, before the owner's own opening is folded."""
    from streams.partition import Partition
    from streams.pressure import BackPressure

    patch(BackPressure, "wanted", lambda _self, consumer, _room: consumer.cursors.keys() - consumer.held)
    patch(Partition, "when_open", lambda self, begin: begin())


def _no_dedupe(patch: Patch) -> None:
    """A redelivered message is decided anew."""
    import streams.partition

    patch(streams.partition, "is_decided", lambda *_args: False)


def _no_offsets(patch: Patch) -> None:
    """What is decided is known by its id alone, within the window: neither lanes nor fold look at offsets."""
    import streams.partition
    from state import fold

    decided = fold.is_decided

    def by_id(session: Any, message_id: str, _source_offset: int) -> bool:
        return decided(session, message_id, -1)

    patch(fold, "is_decided", by_id)
    patch(streams.partition, "is_decided", by_id)


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
    from streams.consumer_thread import LeasedConsumerThread

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


def _no_dead_letters(patch: Patch) -> None:
    """What cannot be handled is dropped."""
    from streams.dead_letters import DeadLetters

    def drop(_self: Any, _owner: Any, _record: Any, _cause: str, _detail: str, acknowledge: Any, **_more: Any) -> None:
        acknowledge()

    patch(DeadLetters, "put", drop)


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


def _no_tool_log(patch: Patch) -> None:
    """A tool runs whatever the log says: before its call is folded, and again by the turn's next owner."""
    from streams.steps import Steps
    from streams.turn import Turn

    async def accepted(self: Turn, event: Any) -> None:
        self.emit(event)

    use_tool = Steps._use_tool

    async def forgetful(self: Steps, step: int, call: Any, _known: Any) -> str:
        return await use_tool(self, step, call, None)

    patch(Turn, "accepted", accepted)
    patch(Steps, "_use_tool", forgetful)


def _no_abandon(patch: Patch) -> None:
    """A call is waited for, whatever it makes of its cancellation."""
    from streams.calls import Calls

    async def run(_self: Any, call: Any, _name: str, **_options: Any) -> Any:
        return await call

    patch(Calls, "run", run)


def _late_tokens(patch: Patch) -> None:
    """A call that outlived its turn, or its partition, speaks on."""
    from streams.token_stream import TokenStream

    patch(TokenStream, "abandon", TokenStream.flush)


def _no_admission(patch: Patch) -> None:
    """Messages are taken from Kafka up to the high-water mark, however many turns run."""
    from streams.pressure import BackPressure

    patch(BackPressure, "room", lambda _self, _consumer: 500)


def _no_back_pressure(patch: Patch) -> None:
    """Everything is taken from Kafka at once (P2)."""
    from streams.pressure import BackPressure

    _no_admission(patch)
    patch(BackPressure, "update", lambda *_args, **_options: None)


def _hold_everybody(patch: Patch) -> None:
    """A flood holds every partition, whoever caused it."""
    from streams.pressure import BackPressure

    patch(BackPressure, "_floods", lambda _self, begun: set(begun))


def _pause_partitions(patch: Patch) -> None:
    """Back-pressure as Faust has it: what was fetched of a held partition is skipped, never delivered (P2)."""
    from faust.types import TP

    from streams.consumer import SessionConsumer

    _no_admission(patch)  # so much is fetched at a time only between the two marks
    deliver = SessionConsumer._deliver

    was_held: set[Any] = set()

    def skipping(self: Any, records: Any) -> None:
        for tp in [*records]:
            if TP(*tp) in was_held:  # fetched by aiokafka before the partition was held
                was_held.discard(TP(*tp))
                cursor = self.cursors[TP(*tp)]
                cursor.fetched = cursor.handled = records[tp][-1].offset + 1
                del records[tp]
        was_held.update(tp for tp in self.held if tp.topic == self.bulk_topic)
        deliver(self, records)

    patch(SessionConsumer, "_deliver", skipping)


def _no_repeat_of_rejected(patch: Patch) -> None:
    """A rejected message that comes again is acknowledged without another word."""
    import streams.partition

    ends = streams.partition.ENDINGS
    patch(streams.partition, "ENDINGS", {kind: end for kind, end in ends.items() if kind != "MessageRejected"})


def _drop_when_full(patch: Patch) -> None:
    """A record that finds librdkafka's queue full is dropped (F21)."""
    from confluent_kafka import Producer

    import streams.producer

    class Dropping(Producer):
        def produce(self, *args: Any, **options: Any) -> None:
            with suppress(BufferError):
                super().produce(*args, **options)

    patch(streams.producer, "Producer", Dropping)


def _no_copartition(patch: Patch) -> None:
    """Whatever is assigned is taken, torn apart or not (R1)."""
    from streams.ownership import Ownership

    def trusting(self: Any, assigned: Any) -> set[int]:
        return {tp.partition for tp in assigned if tp.topic == self.env.names.messages}

    patch(Ownership, "_copartitioned", trusting)


def _web_server(patch: Patch) -> None:
    """Faust's web server runs, as it does by default (F22)."""
    import faust

    init = faust.App.__init__

    def with_web(self: Any, *args: Any, **options: Any) -> None:
        init(self, *args, **{**options, "web_enabled": True})

    patch(faust.App, "__init__", with_web)


def _strict_unpacking(patch: Patch) -> None:
    """A batch is unpacked as aiokafka does (C1)."""
    import streams.unpacking

    patch(streams.unpacking, "TolerantRecords", streams.unpacking.TolerantRecords.__base__)


def _no_watchdog(patch: Patch) -> None:
    """Nobody looks for what stands still."""
    from streams.watchdog import Watchdog

    patch(Watchdog, "look", lambda self: ())


def _no_loop_watch(patch: Patch) -> None:
    """No thread listens to the event loop's pulse."""
    from streams.monitoring.pulse import LoopWatch

    patch(LoopWatch, "_run", lambda self: None)


def _no_hard_exit(patch: Patch) -> None:
    """A process that does not end by itself stays."""
    from streams.monitoring.hard_exit import HardExit

    patch(HardExit, "within", lambda *_args: None)


def _no_standby(patch: Patch) -> None:
    """Copies are assigned, and nobody keeps them."""
    from state.standby import Standbys

    patch(Standbys, "follow", lambda self, partitions: None)


_OFF: dict[str, Callable[[Patch], None]] = {
    "abandon": _no_abandon,
    "ack_at_once": _ack_at_once,
    "ack_order": _no_ack_order,
    "admission": _no_admission,
    "back_pressure": _no_back_pressure,
    "barrier": _no_barrier,
    "buffer_wait": _drop_when_full,
    "cancel_of_lost": _no_cancel_of_lost,
    "copartition": _no_copartition,
    "dedupe": _no_dedupe,
    "discard_held": _keep_held,
    "drain": _no_drain,
    "attempts": _no_attempts,
    "cursors": _no_cursors,
    "stream_cursors": _no_stream_cursors,
    "token_filter": _no_token_filter,
    "look_back": _no_look_back,
    "send_timeout": _no_send_timeout,
    "epochs": _no_epochs,
    "fair_hold": _hold_everybody,
    "forward": _no_forward,
    "gap_check": _no_gap_check,
    "hard_exit": _no_hard_exit,
    "keep": _drop_all_on_rebalance,
    "late_tokens": _late_tokens,
    "lease": _no_lease,
    "loop_watch": _no_loop_watch,
    "monotonic": _no_monotonic_apply,
    "dead_letter_barrier": _dead_letter_when_open,
    "dead_letters": _no_dead_letters,
    "position_check": _no_position_check,
    "offsets": _no_offsets,
    "pause_partitions": _pause_partitions,
    "pinned_id": _no_pinned_id,
    "repair": _no_repair,
    "repeat_rejected": _no_repeat_of_rejected,
    "standby": _no_standby,
    "store_first": _store_first,
    "tolerant_unpacking": _strict_unpacking,
    "tail_check": _no_tail_check,
    "tool_log": _no_tool_log,
    "web": _web_server,
    "watchdog": _no_watchdog,
}
