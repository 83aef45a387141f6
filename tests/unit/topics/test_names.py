"""Names derive from the prefix alone, and equal what Faust derives."""

import faust
import pytest

from schemas.errors import SettingsError
from topics.names import TABLE_NAME, TopicNames


def test_names_default_prefix_equals_the_public_interface() -> None:
    """The names others build against."""
    names = TopicNames()
    assert names.all == (
        "barnabas.messages",
        "barnabas.control",
        "barnabas.events",
        "barnabas.tokens",
        "barnabas.dead-letters",
        "barnabas-sessions-changelog",
    )
    assert names.group_id == names.app_id == "barnabas"


def test_names_two_prefixes_share_nothing() -> None:
    """Two deployments never meet on a cluster."""
    assert not set(TopicNames("a").all) & set(TopicNames("b").all)


def test_changelog_any_prefix_equals_fausts_own_derivation() -> None:
    """Faust names the changelog by itself; ours must be the same topic."""
    names = TopicNames("x.y")
    app = faust.App(names.app_id, store="memory://")
    table = app.Table(TABLE_NAME)
    assert tuple(table.changelog_topic.topics) == (names.changelog,)


@pytest.mark.parametrize("prefix", ["", ".", "..", "a b", "ä", "a/b", "x" * 201])
def test_names_illegal_prefix_is_refused(prefix: str) -> None:
    """Kafka would refuse it later, with a worse text."""
    with pytest.raises(SettingsError, match="prefix"):
        TopicNames(prefix)


def test_names_longest_prefix_stays_within_kafkas_limit() -> None:
    """Kafka allows 249 characters."""
    assert max(map(len, TopicNames("x" * 200).all)) <= 249
