"""The client: publish, subscribe, look back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from barnabas.bounds import TopicOffsets
from barnabas.client.callback import CallbackQueue, OnToken
from barnabas.client.messages import Answer, Message, Part, Sent
from barnabas.client.sender import Sender
from barnabas.client.stream import TokenStream
from barnabas.configuration import load_settings, with_overrides
from barnabas.connection import Connection, connect
from barnabas.cursor import Cursor
from barnabas.fanout import BUFFER_RECORDS, FanOut, Subscription
from barnabas.fanout_feed import KafkaFeed
from barnabas.history.archive import Archive
from barnabas.history.diff import SessionDiff, diff
from barnabas.history.history import History
from barnabas.history.index import Listed
from barnabas.history.indexer import OnProgress
from barnabas.history.logged_event import LoggedEvent
from barnabas.history.moment import At, Moment
from barnabas.history.replay import Replay, Speed
from barnabas.history.transcript import TranscriptFormat, render, transcript_turns
from barnabas.settings import Settings
from barnabas.stream_fold import ChangeKind
from schemas.attempt import PUT_ASIDE
from schemas.commands import MAX_TOKENS, Command, EraseSession, UserMessage
from schemas.controls import CancelTurn
from schemas.errors import (
    AnswerTimeoutError,
    BarnabasError,
    ClientError,
    CursorError,
    InvalidMessageError,
    MessageRejectedError,
    TurnCancelledError,
    TurnError,
    TurnFailedError,
)
from schemas.events import Usage
from schemas.ids import turn_id_for
from schemas.session import Session
from schemas.tokens import Token, TokenKind
from topics.partitioner import session_key

#: Longest wait for an answer, in seconds; a turn's own deadline is 120.
ANSWER_TIMEOUT_S: Final = 180.0

#: Records of :meth:`Client.send_many` that wait for the broker together.
BATCH_SIZE: Final = 500


class Client:
    """Publishes to a deployment, subscribes to its answers and reads its log; an async context manager.

    One client serves a whole program: thousands of streams share one reader of each partition, and it may be used from
    any task of the event loop it was entered in. Without arguments it finds the deployment as the command line does:
    ``BARNABAS_*`` and ``KAFKA_BOOTSTRAP_SERVERS`` in the environment, ``barnabas.yaml``, an embedded broker that runs.

    >>> async def main() -> None:
    ...     async with Client() as client:
    ...         answer = await client.ask("ada", "What is an event log?")
    ...         print(answer.text)
    ...         async for part in client.stream(await client.send("ada", "Say it shorter.")):
    ...             print(part.text, end="", flush=True)

    Args:
        settings: All of them at once; else they are loaded, and the arguments below stand above what is found.
        bootstrap_servers: ``host:port[,host:port]``.
        prefix: Of the deployment's topics.
        partitions: Of every topic; what the topics have unless given.
        kafka: Further librdkafka settings, by its own names.
        schema_registry_url: Where the deployment uses one.
        data_dir: Where indexes of the log are kept.
        config: The settings file.
        on_progress: Hears ``(read, total)`` records while the log is read for long.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        bootstrap_servers: str | None = None,
        prefix: str | None = None,
        partitions: int | None = None,
        kafka: Mapping[str, str | int | float | bool] | None = None,
        schema_registry_url: str | None = None,
        data_dir: Path | None = None,
        config: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._settings = with_overrides(
            settings if settings is not None else load_settings(config),
            bootstrap_servers=bootstrap_servers,
            prefix=prefix,
            partitions=partitions,
            kafka=None if kafka is None else dict(kafka),
            schema_registry_url=schema_registry_url,
            data_dir=data_dir,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Connection | None = None
        self._sender: Sender | None = None
        self._fanout: FanOut | None = None
        self._archive: Archive | None = None

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BrokerError: No Kafka is known or answers, or it has no such deployment.
            TopicMismatchError: The topics have another number of partitions than the settings say.
        """
        if self._loop is not None:
            raise ClientError("the client was entered already; make another one")
        self._loop = asyncio.get_running_loop()
        self._connection = await asyncio.to_thread(connect, self._settings)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what is being sent, end every stream, release the connections. Repeatable."""
        sender, fanout, archive = self._sender, self._fanout, self._archive
        self._connection = self._sender = self._fanout = self._archive = None
        if sender is not None:
            await sender.close()
        if fanout is not None:
            await fanout.close()
        if archive is not None:
            await archive.close()

    # -- Publishing

    async def send(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        agent: str | None = None,
        tenant: str | None = None,
        policy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_ms: int | None = None,
        max_tokens: int | None = None,
    ) -> Sent:
        """Send a message and return once the broker has confirmed it: from then on it will be answered.

        >>> async def fire_and_read_later(client: Client) -> str:
        ...     sent = await client.send("ada", "hello", message_id="order-17")
        ...     return str(sent.cursor)  # enough to read the answer in another process

        Args:
            session_id: Whose memory it belongs to.
            text: What to say.
            message_id: Idempotency key: a message sent twice is answered once; a new one unless given.
            agent: Which agent answers; the deployment's default unless given.
            tenant: Owner of the session.
            policy: What happens when a turn of the session is running.
            metadata: Labels, carried into the log.
            deadline_ms: Longest time the turn may take, in milliseconds from its start.
            max_tokens: Longest output of a model call, in the model's tokens; the agent's own limit counts where it is
                lower.

        Raises:
            InvalidMessageError: The session id or the tenant is impossible.
            RecordTooLargeError: The text is longer than Kafka takes.
            DeliveryUnknownError: It was not confirmed; send it again with the same ``message_id``.
        """
        message = Message(
            session_id=session_id,
            text=text,
            message_id=message_id,
            agent=agent,
            tenant=tenant,
            policy=policy,
            metadata=metadata or {},
            deadline_ms=deadline_ms,
            max_tokens=max_tokens,
        )
        return await self._send(message)

    async def send_many(
        self,
        messages: Iterable[Message | tuple[str, str]],
        *,
        batch_size: int = BATCH_SIZE,
        on_progress: Callable[[int], object] | None = None,
    ) -> list[Sent | BarnabasError]:
        """Send many messages, each session's in their order; what fails does not stop the rest.

        >>> async def load(client: Client, lines: list[str]) -> list[str]:
        ...     results = await client.send_many((("ada", line) for line in lines), batch_size=1000, on_progress=print)
        ...     return [str(result) for result in results if isinstance(result, BarnabasError)]

        Args:
            messages: :class:`Message`, or ``(session_id, text)``.
            batch_size: How many wait for the broker together; the next ones follow when all are confirmed.
            on_progress: Called with the number of messages done, after each batch.

        Returns:
            For each message, in order, what was sent or its error; what is no message gives an InvalidMessageError.
        """
        if batch_size < 1:
            raise InvalidMessageError("invalid_batch_size", f"batch_size: {batch_size} is impossible; it is above 0")
        results: list[Sent | BarnabasError] = []
        batch: list[Message | tuple[str, str]] = []

        async def flush() -> None:
            results.extend(await asyncio.gather(*(self._sent_or_error(message) for message in batch)))
            batch.clear()
            if on_progress is not None:
                on_progress(len(results))

        for message in messages:
            batch.append(message)
            if len(batch) == batch_size:
                await flush()
        if batch:
            await flush()
        return results

    async def cancel(
        self,
        target: Sent | str,
        *,
        message_id: str | None = None,
        turn_id: str | None = None,
        tenant: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Ask for the end of a turn, running or not begun; nothing happens to one that is over.

        >>> async def stop(client: Client, sent: Sent) -> None:
        ...     await client.cancel(sent, reason="the user pressed stop")

        Args:
            target: What was sent, or a session id together with ``message_id`` or ``turn_id``.
            message_id: Of the message whose turn is to end.
            turn_id: ... or of the turn itself.
            tenant: Owner of the session.
            reason: Kept in the log.

        Raises:
            InvalidMessageError: Nothing names the turn.
            DeliveryUnknownError: It was not confirmed.
        """
        if isinstance(target, Sent):
            key, message_id = target.session_id.encode(), target.message_id
        else:
            key = session_key(target, tenant)
        if message_id is None and turn_id is None:
            raise InvalidMessageError("missing_target", "name the turn to cancel by message_id or turn_id")
        order = CancelTurn(message_id=message_id, turn_id=turn_id, reason=reason)
        await self._ready_sender().send(self._ready().names.control, key, order)

    async def erase(self, session_id: str, *, tenant: str | None = None, reason: str | None = None) -> Sent:
        """Have a session's memory emptied, in order with its messages; raises as :meth:`send`.

        The stream of what is returned ends when it is done.
        """
        order = EraseSession(message_id=uuid.uuid4().hex, tenant=tenant, reason=reason)
        return await self._publish(session_key(session_id, tenant), order)

    # -- Subscribing

    def stream(
        self,
        target: Sent | str,
        *,
        turn_id: str | None = None,
        after: Cursor | str | None = None,
        tenant: str | None = None,
        show_superseded: bool = False,
        buffer: int | None = None,
        is_patient: bool = True,
    ) -> TokenStream:
        """Iterate over the tokens of a turn, to its end, or of a session, without end.

        It goes on over crashes and restarts of workers and brokers: an attempt that was cut off is forgotten
        (``reset``), and what was missed is put right by the terminal record.

        >>> async def show(client: Client, sent: Sent, saved: str | None) -> str:
        ...     async with client.stream(sent, after=saved) as parts:
        ...         async for part in parts:
        ...             print(part.text, end="")
        ...             saved = str(part.cursor)  # keep it: another process goes on from here
        ...     return saved or ""

        Args:
            target: What was sent, or a session id.
            turn_id: With a session id: this turn alone.
            after: A cursor to go on from. Else the message's own, or for a session what is written from now on:
                from the moment at which the stream is entered (``async with``) or first asked.
            tenant: Owner of the session.
            show_superseded: Give the records of attempts that do not count as well, as ``superseded``.
            buffer: How many records may be left unread, unless given 256; what follows is read again in its time.
            is_patient: False ends a stream that leaves more unread with an error instead.

        Raises:
            CursorError: ``after`` is no cursor, or of another session's partition.
            CursorExpiredError: While iterating: the records are gone by retention; it says where to begin.
            SlowSubscriberError: While iterating, unless it is patient: too much was left unread; go on from its
                ``cursor``.
            BrokerError: While iterating: the topic cannot be read; the message says where to go on. TopicGoneError is
                one: the topic was deleted, or made anew.
        """
        return self._stream(
            target, turn_id, after, tenant, show_superseded=show_superseded, buffer=buffer, is_patient=is_patient
        )

    async def subscribe(
        self,
        session_id: str,
        *,
        after: Cursor | str | None = None,
        tenant: str | None = None,
        buffer: int = BUFFER_RECORDS,
        look_back: int = 0,
    ) -> Subscription:
        """Subscribe to a session's token records as they lie in Kafka, for who passes them on.

        Nothing is made of them: attempts that do not count and repeated records are among them, and who leaves
        ``buffer`` of them unread is cut off. :meth:`stream` is what an answer's reader wants.

        >>> async def first_offset(client: Client, sent: Sent) -> int:
        ...     records = await client.subscribe("ada", after=sent.cursor)
        ...     return (await anext(records)).offset

        Args:
            session_id: Whose.
            after: A cursor to go on from; what is written from now on where absent.
            tenant: Owner of the session.
            buffer: How many records may be left unread.
            look_back: Begin so many of the partition's offsets before ``after``, as far as they are kept.

        Raises:
            InvalidMessageError: The session id or the tenant is impossible.
            CursorError: ``after`` is no cursor, or of another session's partition.
            CursorExpiredError: The records behind it are gone by retention.
            BrokerError: No broker answered.
        """
        connection, fanout = self._ready(), self._readers()
        key = session_key(session_id, tenant)
        start = self._start_of(connection, key, after) or await fanout.now(connection.partition_of(key))
        return await fanout.subscribe(key, start, limit=buffer, look_back=look_back)

    async def beginning(self, session_id: str, *, tenant: str | None = None) -> Cursor:
        """Return a cursor before the oldest token that is kept of a session's partition; raises as :meth:`subscribe`.

        >>> async def everything(client: Client) -> TokenStream:
        ...     return client.stream("ada", after=await client.beginning("ada"))
        """
        connection, fanout = self._ready(), self._readers()
        return await fanout.beginning(connection.partition_of(session_key(session_id, tenant)))

    async def ask(
        self,
        session_id: str,
        text: str,
        *,
        message_id: str | None = None,
        agent: str | None = None,
        tenant: str | None = None,
        policy: str | None = None,
        metadata: Mapping[str, str] | None = None,
        deadline_ms: int | None = None,
        max_tokens: int | None = None,
        timeout: float | None = ANSWER_TIMEOUT_S,  # noqa: ASYNC109 -- it says where to go on, which a cancelled scope cannot
        on_token: OnToken | None = None,
    ) -> Answer:
        """Send a message and return its whole answer.

        >>> async def converse(client: Client) -> None:
        ...     answer = await client.ask("ada", "Hello!", on_token=lambda part: print(part.text, end=""))
        ...     print(answer.usage.completion_tokens, "tokens")

        Args:
            session_id: As in :meth:`send`; so are the arguments up to ``max_tokens``.
            text: What to say.
            message_id: Idempotency key.
            agent: Which agent answers.
            tenant: Owner of the session.
            policy: What happens when a turn of the session is running.
            metadata: Labels.
            deadline_ms: Longest time the turn may take.
            max_tokens: Longest output of a model call.
            timeout: Longest wait for the answer's end, in seconds; None waits without end.
            on_token: Called with each :class:`Part`, in order: a coroutine function on the event loop, another one in
                a thread of its own. All calls are over when this returns. An error of it is logged and changes
                nothing; a slow one slows nobody else.

        Raises:
            TurnFailedError: The turn failed; ``cause`` says why.
            TurnCancelledError: Somebody cancelled it.
            MessageRejectedError: The message got no turn; ``cause`` says why.
            AnswerTimeoutError: It is not answered yet; ``cursor`` is where to go on.
            ClientError: The client was closed meanwhile; the message says where to go on.
            DeliveryUnknownError: It was not confirmed by the broker.
        """
        sent = await self.send(
            session_id,
            text,
            message_id=message_id,
            agent=agent,
            tenant=tenant,
            policy=policy,
            metadata=metadata,
            deadline_ms=deadline_ms,
            max_tokens=max_tokens,
        )
        return await self.answer(sent, timeout=timeout, on_token=on_token)

    async def answer(
        self,
        sent: Sent,
        *,
        timeout: float | None = ANSWER_TIMEOUT_S,  # noqa: ASYNC109 -- as in ask()
        on_token: OnToken | None = None,
    ) -> Answer:
        """Return the whole answer of what was sent before; arguments and errors are those of :meth:`ask`."""
        parts = self._stream(sent, None, None, None)
        callback = CallbackQueue(on_token) if on_token is not None else None
        try:
            async with asyncio.timeout(timeout), parts:
                last, text = await _collect(parts, callback)
                if callback is not None:
                    await callback.join()
        except TimeoutError as error:
            what = "the answer is not finished" if parts.has_begun else "nobody answers; is a worker running?"
            raise AnswerTimeoutError(
                f"after {timeout:g} s {what}; the message is in Kafka and will be answered",
                cursor=str(parts.cursor),
            ) from error
        finally:
            if callback is not None:
                await callback.aclose()
        return _answer_of(last, text)

    # -- Looking back

    def replay(
        self,
        session_id: str | None = None,
        *,
        tenant: str | None = None,
        partition: int | None = None,
        start: At | None = None,
        end: At | None = None,
        follow: bool = False,
        speed: Speed = "max",
    ) -> AsyncIterator[LoggedEvent]:
        """Iterate over the typed events of a session or a partition, each with the fold's verdict.

        >>> async def rejected(client: Client) -> list[LoggedEvent]:
        ...     return [event async for event in client.replay(partition=0) if not event.is_accepted]

        Args:
            session_id: Whose events; or name a ``partition``.
            tenant: Owner of the session.
            partition: All events of one partition.
            start: The first: an offset, a time (``datetime``, ISO text), or how long ago (``timedelta``, ``-15m``).
            end: The last, in the same words.
            follow: Go on with what comes.
            speed: ``max``, or with the original distances in time: ``1x``, ``10x``, ``0.5x``.

        Raises:
            SettingsError: What is asked for makes no sense.
            HistoryLostError: The log's beginning is gone.
            UnknownEventError: A newer version wrote one of the events.
            BrokerError: The log cannot be read.
        """
        replay = Replay(
            self._ready(),
            key=None if session_id is None else session_key(session_id, tenant),
            partition=partition,
            start=None if start is None else Moment.of(start),
            end=None if end is None else Moment.of(end),
            follow=follow,
            speed=speed,
            on_progress=self._on_progress,
        )
        return replay.events()

    def events(
        self, session_id: str, *, tenant: str | None = None, start: At | None = None, follow: bool = False
    ) -> AsyncIterator[LoggedEvent]:
        """Iterate over a session's events, oldest first; raises as :meth:`replay`.

        >>> async def outcomes(client: Client) -> list[str]:
        ...     return [type(logged.event).__name__ async for logged in client.events("ada") if logged.is_accepted]
        """
        return self.replay(session_id, tenant=tenant, start=start, follow=follow)

    async def session(self, session_id: str, *, tenant: str | None = None, at: At | None = None) -> Session:
        """Return a session as the log tells it: now, or as it was at an offset or a time.

        The first question about a partition reads it once, for a local index; later ones read the session's own events.

        >>> async def memory_an_hour_ago(client: Client) -> list[str]:
        ...     session = await client.session("ada", at="-1h")
        ...     return [entry.text for entry in session.memory]

        Args:
            session_id: Which; one that nobody has talked to is empty.
            tenant: Its owner.
            at: Behind the event at this offset, or at this time; see :meth:`replay`.

        Raises:
            HistoryLostError: The log's beginning is gone.
            UnknownEventError: A newer version wrote one of its events.
            BrokerError: The log cannot be read.
        """
        key, moment = session_key(session_id, tenant), None if at is None else Moment.of(at)
        return await self._history().ask(lambda history: history.session(key, moment))

    async def diff(self, session_id: str, before: At, after: At, *, tenant: str | None = None) -> SessionDiff:
        """Return what became of a session between two moments; raises as :meth:`session`.

        >>> async def learnt_since(client: Client, offset: int) -> list[str]:
        ...     found = await client.diff("ada", offset, "-0s")
        ...     return [entry.text for entry in found.added]
        """
        key, moments = session_key(session_id, tenant), (Moment.of(before), Moment.of(after))

        def compare(history: History) -> SessionDiff:
            return diff(*(history.session(key, moment) for moment in moments))

        return await self._history().ask(compare)

    async def transcript(
        self,
        session_id: str,
        format: TranscriptFormat = "md",  # noqa: A002 -- its name
        *,
        tenant: str | None = None,
    ) -> str:
        """Return a session's conversation, every turn that counts, as Markdown or JSON; raises as :meth:`session`.

        An erased session's begins behind its erasure.

        >>> async def save(client: Client) -> None:
        ...     Path("ada.md").write_text(await client.transcript("ada"))
        """
        key = session_key(session_id, tenant)

        def tell(history: History) -> str:
            return render(key.decode(), transcript_turns(history.events(key)), format)

        return await self._history().ask(tell)

    async def sessions(self, limit: int = 50) -> list[tuple[int, Listed]]:
        """Return the sessions that changed last, newest first, each with its partition; raises as :meth:`session`."""
        return await self._history().ask(lambda history: history.sessions(limit))

    # -- Parts

    def _ready(self) -> Connection:
        if self._connection is None:
            raise ClientError("the client is not open; use it inside: async with Client() as client")
        if asyncio.get_running_loop() is not self._loop:
            raise ClientError("the client belongs to another event loop; make one for each loop, or use SyncClient")
        return self._connection

    def _ready_sender(self) -> Sender:
        connection = self._ready()
        if self._sender is None:
            self._sender = Sender(connection)
        return self._sender

    def _readers(self) -> FanOut:
        connection = self._ready()
        if self._fanout is None:
            topic, config = connection.names.tokens, connection.client_config
            self._fanout = FanOut(
                lambda listener: KafkaFeed(topic, config, listener),
                TopicOffsets(topic, connection.partitions, config),
                connection.codec,
                topic=topic,
            )
        return self._fanout

    def _history(self) -> Archive:
        connection = self._ready()
        if self._archive is None:
            self._archive = Archive(connection, self._on_progress)
        return self._archive

    async def _send(self, message: Message) -> Sent:
        command = UserMessage(
            text=message.text,
            message_id=message.message_id or uuid.uuid4().hex,
            agent=message.agent,
            tenant=message.tenant,
            policy=message.policy,
            metadata=dict(message.metadata),
            deadline_ms=message.deadline_ms,
            limits={} if message.max_tokens is None else {MAX_TOKENS: message.max_tokens},
        )
        return await self._publish(session_key(message.session_id, message.tenant), command)

    async def _publish(self, key: bytes, command: Command) -> Sent:
        connection, sender = self._ready(), self._ready_sender()
        # Before the message is there: no token of its answer can lie before it.
        cursor = await self._readers().now(connection.partition_of(key))
        place = await sender.send(connection.names.messages, key, command)
        session_id, message_id = key.decode(), command.message_id or ""
        return Sent(session_id, message_id, turn_id_for(session_id, message_id), *place, cursor)

    async def _sent_or_error(self, message: Message | tuple[str, str]) -> Sent | BarnabasError:
        try:
            if not isinstance(message, Message):
                session_id, text = message
                message = Message(session_id=session_id, text=text)
            return await self._send(message)
        except BarnabasError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- one failure, of whatever kind, does not fail the rest
            found = InvalidMessageError("invalid_message", f"this cannot be sent: {type(error).__name__}: {error}")
            found.__cause__ = error
            return found

    def _stream(
        self,
        target: Sent | str,
        turn_id: str | None,
        after: Cursor | str | None,
        tenant: str | None,
        *,
        show_superseded: bool = False,
        is_patient: bool = True,
        buffer: int | None = None,
    ) -> TokenStream:
        connection, fanout = self._ready(), self._readers()
        if isinstance(target, Sent):
            key, turn_id, after = target.session_id.encode(), target.turn_id, after or target.cursor
        else:
            key = session_key(target, tenant)
        partition = connection.partition_of(key)
        start = self._start_of(connection, key, after)
        limit = BUFFER_RECORDS if buffer is None else buffer

        async def subscribe(behind: Cursor | None) -> Subscription:
            self._ready()
            return await fanout.subscribe(key, behind or await fanout.now(partition), limit=limit)

        return TokenStream(subscribe, start, turn_id=turn_id, shows_superseded=show_superseded, is_patient=is_patient)

    @staticmethod
    def _start_of(connection: Connection, key: bytes, after: Cursor | str | None) -> Cursor | None:
        start = Cursor.of(after) if after is not None else None
        partition = connection.partition_of(key)
        if start is not None and start.partition != partition:
            raise CursorError(f"the cursor {start} is of another session: {key.decode()!r} is on partition {partition}")
        return start


async def _collect(parts: TokenStream, callback: CallbackQueue | None) -> tuple[Part, str]:
    """Read a turn to its end: the last part, and the text that counts.

    Raises:
        ClientError: The client was closed before that end.
    """
    texts: list[str] = []
    async for part in parts:
        if part.kind is ChangeKind.RESET:
            texts.clear()
        texts.append(part.text)
        if callback is not None:
            await callback.put(part)
        if part.outcome is not None:
            return part, "".join(texts)
    raise ClientError(f"the client was closed before the answer's end; go on from {parts.cursor}")


def _answer_of(last: Part, text: str) -> Answer:
    token = last.token
    if token.kind is TokenKind.COMPLETED:
        ids = (token.session_id, token.message_id, token.turn_id)
        return Answer(text, token.usage or Usage(), *ids, last.cursor, token.finish_reason)
    raise turn_error(token, text)


def turn_error(token: Token, text: str) -> TurnError:
    """Return what a turn that ended without an answer is to its client; ``text`` is what was streamed."""
    retry_after = token.retry_after_ms / 1000 if token.retry_after_ms else None
    kind: type[TurnError] = TurnFailedError
    why = f"{token.cause}: {token.detail}" + (f"; try again in {retry_after:g} s" if retry_after else "")
    if token.kind is TokenKind.CANCELLED:
        kind, why = TurnCancelledError, f"the turn was cancelled: {token.detail}"
    elif token.attempt == PUT_ASIDE:
        kind = MessageRejectedError
    return kind(
        why,
        session_id=token.session_id,
        turn_id=token.turn_id,
        message_id=token.message_id,
        cause=token.cause,
        detail=token.detail,
        text=text,
        retry_after=retry_after,
    )
