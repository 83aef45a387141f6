"""Names that Faust would derive from module paths are ours, pinned (hazards page, last lines)."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from state.options import StoreOptions
from state.table import SESSIONS
from streams.app import ConsumerOptions, bind_agents, create_app
from topics.names import TopicNames


def test_names_app_group_agents_table_and_changelog_are_pinned(tmp_path: Path) -> None:
    """A renamed module must not move a deployment to another group, changelog or topic."""

    async def build() -> tuple[Any, Any]:
        names = TopicNames("barnabas")
        app, table = create_app(
            names=names,
            bootstrap_servers="127.0.0.1:1",
            partitions=4,
            data_dir=tmp_path,
            worker="w",
            consumer=ConsumerOptions(),
            store=StoreOptions(),
        )
        handler: Any = SimpleNamespace(messages=None, control=None, handle=None, update=None)
        bind_agents(app, names, intake=handler, projector=handler, pressure=handler)
        return app, table

    app, table = asyncio.run(build())
    assert app.conf.id == "barnabas"
    assert sorted(app.agents) == ["barnabas.control.agent", "barnabas.events.agent", "barnabas.messages.agent"]
    topics = {topic for agent in app.agents.values() for topic in agent.channel.topics}
    assert topics == {"barnabas.control", "barnabas.events", "barnabas.messages"}
    assert (SESSIONS, table.name) == ("sessions", "sessions")
    assert table.changelog_topic_name == "barnabas-sessions-changelog"
    assert all(agent.concurrency == 1 for agent in app.agents.values())
    assert app.conf.web_enabled is False
    assert app.conf.topic_allow_declare is False
    assert app.conf.stream_wait_empty is False
    assert app.conf.consumer_group_instance_id in {None, ""}
