"""What is printed is what is granted: the same operations by Kafka's tool and by its administrative client."""

import json
import shlex

import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from barnabas.cli import main
from topics.acls import Component, bindings, command_line, grants
from topics.names import READERS_GROUP, TopicNames

NAMES = TopicNames("p")


@pytest.mark.parametrize("component", Component)
def test_line_and_bindings_say_the_same(component: Component) -> None:
    """Resource, name, user and each operation."""
    for grant in grants(component, NAMES):
        words = shlex.split(command_line(grant, "User:CN=a b", "h:1"))
        operations = {words[at + 1] for at, word in enumerate(words) if word == "--operation"}
        made = bindings([grant], "User:CN=a b")
        assert {one.operation for one in made} == {
            AclOperation[{"DescribeConfigs": "DESCRIBE_CONFIGS"}.get(op, op.upper())] for op in operations
        }
        assert {(one.restype, one.name, one.principal) for one in made} == {
            (ResourceType[grant.resource.upper()], words[words.index(f"--{grant.resource}") + 1], "User:CN=a b")
        }


def test_only_topics_and_the_group_of_the_prefix_are_named() -> None:
    """Another deployment on the same cluster stays out of reach."""
    named = {grant.name for component in Component for grant in grants(component, NAMES)}
    assert named == {*NAMES.all, NAMES.group_id, READERS_GROUP}


def test_acls_command_prints_one_component(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a broker, and for a user of one's own."""
    monkeypatch.setenv("BARNABAS_PREFIX", "p")
    with pytest.raises(SystemExit) as ended:
        main(["topics", "acls", "--component", "subscriber", "--principal", "User:ada", "--json"])
    assert ended.value.code == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(line["component"], line["principal"]) for line in lines} == {("subscriber", "User:ada")}
    assert {"p.tokens": ["Read"]}.items() <= {line["name"]: line["operations"] for line in lines}.items()
    with pytest.raises(SystemExit) as refused:
        main(["topics", "acls", "--component", "nobody"])
    assert refused.value.code == 1
    assert "worker" in capsys.readouterr().err
