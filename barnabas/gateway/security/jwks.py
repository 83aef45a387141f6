"""An identity provider's public keys: fetched off the request's path where possible, kept, and rotated."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from barnabas.gateway.security.options import JwtOptions
from schemas.errors import KeysUnavailableError, UnauthenticatedError

_log = structlog.get_logger(__name__)

#: Between two fetches that an unknown key id asks for, or that failed: tokens with invented ids must not become a flood
#: of fetches, nor an endpoint that is down make every request wait for its time-out.
COOLDOWN_S: Final = 5.0
_MAX_BYTES: Final = 1024 * 1024
#: Public keys. A symmetric one in a published set would make a signature of whoever has read it.
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})


class Jwks:
    """The keys by their id (``kid``).

    Args:
        options: Where they are, and how long they are good for.
        now: Seconds of a clock that never goes back.
    """

    def __init__(self, options: JwtOptions, *, now: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._now = now
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str) -> PyJWK:
        """Return a key.

        Keys that grow old are fetched again beside the requests; only a request with an unknown id waits, all of them
        for one fetch.

        Raises:
            UnauthenticatedError: No such key.
            KeysUnavailableError: It is unknown, and the keys cannot be fetched; or those there are too old.
        """
        age = None if self._fetched_at is None else self._now() - self._fetched_at
        is_usable = age is not None and age < self._options.stale_s
        found = self._keys.get(kid) if is_usable else None
        if found is not None:
            if age is not None and age >= self._options.refresh_s:
                self._fetch()
            return found
        fetching = self._fetch()
        if fetching is not None:
            await asyncio.shield(fetching)  # one fetch for all: that one of them gave up does not end it
        elif not is_usable or self._has_failed:
            raise KeysUnavailableError(COOLDOWN_S)
        if self._has_failed:
            raise KeysUnavailableError(COOLDOWN_S)
        if (key := self._keys.get(kid)) is None:
            raise UnauthenticatedError("the token is signed with an unknown key", had_credentials=True)
        return key

    async def aclose(self) -> None:
        """End a fetch that is under way."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)
            self._fetching = None

    @property
    def _has_failed(self) -> bool:
        """Whether the last fetch did."""
        return self._tried_at is not None and (self._fetched_at is None or self._fetched_at < self._tried_at)

    def _fetch(self) -> asyncio.Task[None] | None:
        """Return the fetch under way, or begin one; None where the last one is too recent."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._tried_at is not None and self._now() - self._tried_at < COOLDOWN_S:
            return None
        self._tried_at = self._now()
        self._fetching = asyncio.create_task(self._fetch_once(), name="jwks")
        return self._fetching

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(self._options.timeout_s):  # all of it: one that drips ends as well
                text = await (self._download() if self._options.jwks_url is not None else self._read())
            keys = _parse(text)
        except (OSError, TimeoutError, ValueError) as error:
            where = self._options.jwks_url or self._options.jwks_file
            _log.warning("public keys could not be fetched", where=str(where), cause=str(error) or type(error).__name__)
            return
        if keys.keys() != self._keys.keys():
            _log.info("public keys", kids=sorted(keys))
        self._keys = keys
        self._fetched_at = self._now()

    async def _download(self) -> bytes:
        import aiohttp

        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(str(self._options.jwks_url), allow_redirects=False) as response,
            ):
                if response.status != 200:  # noqa: PLR2004
                    raise ValueError(f"HTTP status {response.status}")
                text = await response.content.read(_MAX_BYTES)
                if not response.content.at_eof():
                    raise ValueError(f"more than {_MAX_BYTES} bytes")
                return text
        except aiohttp.ClientError as error:
            raise ValueError(str(error) or type(error).__name__) from error

    async def _read(self) -> bytes:
        return await asyncio.to_thread(Path(str(self._options.jwks_file)).read_bytes)


def read_jwks(path: Path) -> list[str]:
    """Return the ids of a file's keys.

    Raises:
        OSError: It cannot be read.
        ValueError: It holds no public key for signatures.
    """
    return sorted(_parse(path.read_bytes()))


def _parse(text: bytes) -> dict[str, PyJWK]:
    """Return the public keys for signatures; what else is in the set is left out.

    Raises:
        ValueError: There is none.
    """
    try:
        found: Any = json.loads(text)
        entries = found["keys"]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError("no JSON Web Key Set") from error
    keys: dict[str, PyJWK] = {}
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("kty") not in _KEY_TYPES or entry.get("use", "sig") != "sig":
            continue
        kid = entry.get("kid")
        if isinstance(kid, str) and "d" not in entry:  # with "d" it is a private one, published by mistake
            try:
                keys[kid] = PyJWK(entry)
            except (PyJWTError, ValueError, TypeError, KeyError):
                continue  # a curve or algorithm that is not known here
    if not keys:
        raise ValueError("no public key with an id (kid) for signatures")
    return keys
