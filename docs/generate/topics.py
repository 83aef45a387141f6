"""The topics, from the catalog that makes them."""

from __future__ import annotations

from docs.generate.docstrings import to_markdown
from docs.generate.markdown import code, document, table
from topics.catalog import DAY_MS, FOREVER_MS, HOUR_MS, TopicSpec, catalog
from topics.names import TopicNames

_INTRODUCTION = """\
A deployment has six topics under one prefix (`prefix`, by default `barnabas`), all with the same number of partitions
(`partitions`, by default 16). `barnabas topics` makes what is missing and says where an existing topic differs; another
number of partitions, or a cleanup policy that would break a guarantee, is refused at start. Broker-side creation of
topics is not relied on.

A key is the session's id, or `tenant/session` where tenants are used. Records of ours lie on partition
`(murmur2(key) & 0x7fffffff) % partitions`; a message that a client put elsewhere is moved there
([decision 1](../decisions/0001-keying.md)). How records are encoded: [decision 4](../decisions/0004-encoding.md)."""

_PAGES = {
    "Message": "[commands](commands.md)",
    "Control": "[controls](controls.md)",
    "SessionEvent": "[events](events.md)",
    "Token": "[tokens](tokens.md)",
    "DeadLetter": "[dead letters](dead-letters.md)",
    "SessionValue": "[session](session.md)",
}


def page() -> str:
    """Return the page."""
    names = TopicNames()
    specs = catalog(names)
    meanings = [_meaning(name) for name in ("messages", "control", "events", "tokens", "dead_letters", "changelog")]
    rows = [
        (code(spec.name), meaning, _PAGES[spec.value], _kept(spec))
        for spec, meaning in zip(specs, meanings, strict=True)
    ]
    head = ("topic", "holds", "values", "kept")
    parts = [_INTRODUCTION, table(head, rows), "## Settings of each topic", "As Kafka names them."]
    parts.append(table(("topic", "settings"), [(code(spec.name), _config(spec)) for spec in specs]))
    return document("Topics", *parts)


def _meaning(name: str) -> str:
    return to_markdown(getattr(TopicNames, name).__doc__ or "").strip()


def _kept(spec: TopicSpec) -> str:
    if spec.cleanup_policy == "compact":
        return "the newest value of each key"
    if spec.retention_ms == FOREVER_MS:
        return "for ever"
    days = spec.retention_ms // DAY_MS
    return f"{days} day{'s' if days > 1 else ''}" if days else f"{spec.retention_ms // HOUR_MS} hours"


def _config(spec: TopicSpec) -> str:
    return " ".join(code(f"{name}={value}") for name, value in spec.kafka_config().items())
