"""A conversation in a terminal, without the terminal: what is sent, what is followed, what survives a restart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from barnabas.client import Client, Part, Sent
from barnabas.cursor import Cursor
from schemas.errors import CursorError
from topics.partitioner import session_key


class Chat:
    """One session's conversation; the turn that is under way is noted in a file until it ends.

    Args:
        client: An open one.
        session_id: Whose conversation.
        folder: Where the note is kept.
        tenant: Owner of the session.
        agent: Which agent answers; the deployment's default where None.
    """

    def __init__(
        self, client: Client, session_id: str, folder: Path, *, tenant: str | None = None, agent: str | None = None
    ) -> None:
        self._client = client
        self._session_id = session_id
        self._tenant = tenant
        self._agent = agent
        key = session_key(session_id, tenant).decode()
        self._note = folder / f"{quote(key, safe='')[:200]}.json"

    def unfinished(self) -> Sent | None:
        """Return what was sent by an earlier run of this program and had no end by then."""
        try:
            fields = json.loads(self._note.read_text())
            return Sent(**{**fields, "cursor": Cursor.parse(fields["cursor"])})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):  # damaged: it is a convenience, not a record
            self._note.unlink(missing_ok=True)
            return None

    async def send(self, text: str) -> Sent:
        """Send a message and note it; raises as :meth:`Client.send`."""
        sent = await self._client.send(self._session_id, text, agent=self._agent, tenant=self._tenant)
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.write_text(json.dumps({**dataclasses.asdict(sent), "cursor": str(sent.cursor)}))
        return sent

    async def follow(self, sent: Sent, show: Callable[[Part], None]) -> None:
        """Show a turn from its beginning to its end; raises as :meth:`Client.stream`.

        Its note is kept as long as it may be followed again: not where its records are gone (``CursorError``).
        """
        try:
            async for part in self._client.stream(sent):
                show(part)
        except CursorError:
            self.forget()
            raise
        self.forget()

    def forget(self) -> None:
        """Take nothing up again."""
        self._note.unlink(missing_ok=True)

    async def cancel(self, sent: Sent) -> None:
        """Ask for the turn's end; :meth:`follow` sees it."""
        await self._client.cancel(sent, reason="Ctrl-C in a chat")

    async def erase(self) -> Sent:
        """Have the session forget everything."""
        return await self._client.erase(self._session_id, tenant=self._tenant, reason="/erase in a chat")
