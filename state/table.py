"""The one Faust table: its store is ours, and nothing else writes it."""

from __future__ import annotations

from typing import Any, Final

import faust
from faust.types import StoreT

from state.store import SessionStore
from topics.names import TABLE_NAME

#: Pinned: Faust derives the changelog's name from it and the app's id.
SESSIONS: Final = TABLE_NAME


class SessionTable(faust.Table[bytes, bytes]):
    """Faust's table as a name, a changelog topic and a store; reads and writes go through the write path."""

    def _new_store(self) -> StoreT:
        return SessionStore(
            "rocksdb://",
            self.app,
            self,
            table_name=self.name,
            key_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            value_type=bytes,
            loop=self.loop,
            options=self.options,
        )

    @property
    def store(self) -> SessionStore:
        """The RocksDB store."""
        store = self.data
        assert isinstance(store, SessionStore)  # noqa: S101 -- _new_store() made it
        return store

    async def on_start(self) -> None:
        """Start the store; the changelog topic is declared by ``topics.admin``, never by Faust."""
        await self.add_runtime_dependency(self.data)

    def on_key_set(self, key: bytes, value: bytes) -> None:
        """Refuse Faust's own write path: it drops the delivery of its changelog record (F3)."""
        self.store._set(key, value)

    def on_key_del(self, key: bytes) -> None:
        """Refuse, as :meth:`on_key_set`."""
        self.store._del(key)

    async def on_rebalance(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: recovery opens and closes partitions."""
