"""What a message that is decided already is answered with, when it comes again."""

from types import SimpleNamespace
from typing import Any, get_args

import pytest

from schemas.attempt import Attempt
from schemas.commands import UserMessage
from schemas.events import MessageMerged, MessageQueued, Outcome, TurnSuspended
from schemas.session import Decision, PartitionState, Session
from schemas.tokens import Token, TokenKind
from state.partition_fold import PartitionFold
from streams.incoming import Incoming
from streams.options import Limits
from streams.partition import Partition
from streams.token_stream import ENDINGS

MESSAGE = Incoming(
    key=b"s",
    session_id="s",
    message_id="m",
    turn_id="t",
    offset=3,
    command=UserMessage(text="hello"),
    agent="a",
    traceparent=None,
    acknowledge=lambda: None,
)


class WritePath:
    """Confirms at once."""

    def when_confirmed(self, _partition: int, _key: bytes, receipt: Any) -> None:
        """Do so."""
        receipt()

    def flush(self, _partition: int) -> None:
        """Nothing waits."""


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        ("TurnCompleted", TokenKind.COMPLETED),
        ("TurnFailed", TokenKind.FAILED),
        ("TurnCancelled", TokenKind.CANCELLED),
        ("MessageRejected", TokenKind.FAILED),
        ("SessionErased", TokenKind.COMPLETED),
        ("MessageMerged", None),
    ],
)
def test_decided_message_comes_again_its_reader_is_told_how_it_ended(outcome: str, kind: TokenKind | None) -> None:
    """Also an order to erase: who decided it may have died before it could tell. Mutant: an ending left out."""
    sent: list[Token] = []

    def send(_partition: int, _key: bytes, token: Token, delivered: Any, _trace: object) -> None:
        sent.append(token)
        delivered(None, 0)

    env: Any = SimpleNamespace(limits=Limits(), write_path=WritePath(), publisher=SimpleNamespace(token=send))
    fold = PartitionFold(PartitionState(partition=0))
    partition = Partition(0, fold, env, generation=1, on_lost=lambda *_args: pytest.fail("lost"))
    session = Session(session_id="s", recent=(Decision(message_id="m", outcome=outcome, attempt=Attempt(1, 0)),))
    acknowledged: list[None] = []
    partition.repeat_outcome(session, MESSAGE, lambda: acknowledged.append(None))
    assert [token.kind for token in sent] == ([] if kind is None else [kind])
    assert len(acknowledged) == 1


def test_every_outcome_that_ends_a_turn_has_an_ending() -> None:
    """A new one in the union needs a token, or a reason to have none: the message goes on, or in another."""
    goes_on = {TurnSuspended, MessageMerged, MessageQueued}
    assert ENDINGS.keys() == {outcome.__name__ for outcome in get_args(Outcome) if outcome not in goes_on}
