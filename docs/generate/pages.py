"""Which pages there are, and what makes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from docs.generate import acls, cli, errors, metrics, python, records, settings, topics

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "acls.md": acls.page,
    "cli.md": cli.page,
    "commands.md": records.commands_page,
    "controls.md": records.controls_page,
    "dead-letters.md": records.dead_letters_page,
    "errors.md": errors.page,
    "events.md": records.events_page,
    "metrics.md": metrics.page,
    "python.md": python.page,
    "session.md": records.session_page,
    "settings.md": settings.page,
    "tokens.md": records.tokens_page,
    "topics.md": topics.page,
}
