"""What Kafka has to allow, from the catalog that ``barnabas topics acls`` prints."""

from __future__ import annotations

from docs.generate.docstrings import attributes
from docs.generate.markdown import code, document, table
from topics.acls import Component, grants
from topics.names import TopicNames

_INTRODUCTION = """\
On a Kafka with ACLs each component is best a user of its own, with these rights and no others. `barnabas topics acls`
prints them for your `prefix` as lines for `kafka-acls.sh` or as JSON, and `--apply` grants them; how the rest is set
up: [Kafka over TLS, with users and ACLs](../how-to/kafka-security.md).

`Read` and `Write` imply `Describe`. No component needs a right on the cluster, a transactional id, or a topic or group
beside these. Clients look at four of the topics before anything else, to see whether there is a deployment and whether
its partitions agree: hence the `Describe` on topics that they neither write nor read."""


def page() -> str:
    """Return the page."""
    names, meanings = TopicNames(), attributes(Component)
    parts = []
    for component in Component:
        rows = [
            (grant.resource, code(grant.name), " ".join(map(code, grant.operations)))
            for grant in grants(component, names)
        ]
        parts += [f"## {component}", meanings[component.name], table(("on", "name", "operations"), rows)]
    return document("ACLs", _INTRODUCTION, *parts)
