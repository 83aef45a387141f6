"""A model endpoint over HTTP: one session, retried opening, server-sent events, errors in our tree."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import aiohttp
import msgspec
import yarl
from pydantic import SecretStr
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from schemas.errors import ProviderError, ProviderTimeoutError, ProviderUnavailableError, SettingsError
from streams.providers.protocol import Timeouts
from streams.providers.sse import SseParser

_ATTEMPTS = 3
_LONGEST_WAIT_S = 5.0
"""A ``Retry-After`` beyond this is not waited for inside a turn: the error carries it instead."""
_backoff_s = wait_random_exponential(multiplier=0.2, max=2)
_BUSY = frozenset({408, 425, 429})
_TEXT_LIMIT = 500
_LAST_BYTES_S = 0.1


class Endpoint:
    """An HTTP model API at ``base_url``; ``key`` appears in the headers made of it and nowhere else.

    The session is opened with the first request and has no connection limit of its own: the worker's
    limit of running turns bounds it. Redirects are not followed, since they would carry the key along.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        field: str,
        key: SecretStr | None,
        headers: Mapping[str, str],
        timeouts: Timeouts,
    ) -> None:
        try:
            self.url = yarl.URL(base_url.rstrip("/"))
        except ValueError:
            self.url = yarl.URL()
        if self.url.scheme not in {"http", "https"} or not self.url.host:
            raise SettingsError(f"{field}: {base_url!r} is no URL; give one such as http://localhost:8000/v1")
        self._name = name
        self._key = None if key is None else SecretStr(key.get_secret_value().strip())
        self._headers = dict(headers)
        self._connect_s = timeouts.connect_s
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def warm(self, path: str) -> None:
        """Open a connection by reading ``path``; an endpoint without it (404, 405) is warm as well."""
        response = await self._request("GET", path, None)
        try:
            if response.status not in {200, 404, 405}:
                raise await self._refusal(response)
            await response.read()  # a body read to its end leaves the connection in the pool
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        finally:
            response.close()

    async def events(
        self, path: str, body: Mapping[str, Any], *, is_last: Callable[[bytes], bool]
    ) -> AsyncGenerator[bytes, None]:
        """Post ``body`` as JSON and yield the data of each event of the answer, to the last one.

        Refusals that may pass (429, 5xx, no connection) are tried three times in all, and only until
        the answer's headers are there: from then on the endpoint may have begun to generate.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=_wait_s,
            retry=retry_if_exception(_is_worth_waiting_for),
            reraise=True,
        )
        response: aiohttp.ClientResponse = await retrying(self._open, path, msgspec.json.encode(body))
        try:
            parser = SseParser()
            content = response.content
            while chunk := await content.readany():
                for event in parser.feed(chunk):
                    yield event
                    if is_last(event):
                        await _drain(response)
                        return
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderUnavailableError(f"{self._name}: the connection broke off in mid-answer") from error
        finally:
            response.close()

    def stream_error(self, detail: object) -> ProviderError | ProviderUnavailableError:
        """The error for one sent as an event, after a 200: its code or type decides which kind."""
        message = self._clean(_message_of({"error": detail}) or str(detail))
        code = detail.get("code") if isinstance(detail, dict) else None
        if isinstance(code, int) and 400 <= code < 500 and code not in _BUSY:  # noqa: PLR2004 -- HTTP's own
            return ProviderError(f"{self._name}: {message}")
        return ProviderUnavailableError(f"{self._name}: {message}")

    async def close(self) -> None:
        """Close every connection; running calls end with ``ProviderUnavailableError``."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _open(self, path: str, body: bytes) -> aiohttp.ClientResponse:
        response = await self._request("POST", path, body)
        is_stream = False
        try:
            if response.status != 200:  # noqa: PLR2004 -- OK
                raise await self._refusal(response)
            if response.content_type != "text/event-stream":
                raise ProviderError(f"{self._name}: answered {response.content_type} instead of an event stream")
            is_stream = True
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        finally:
            if not is_stream:
                response.close()
        return response

    async def _request(self, method: str, path: str, body: bytes | None) -> aiohttp.ClientResponse:
        if self._is_closed:  # a retry that wakes up now must not open a session that nobody closes
            raise ProviderUnavailableError(f"{self._name}: the provider was closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=300),
                # The limits on tokens are ``bounded``'s, for every provider alike.
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_s),
                headers={"Content-Type": "application/json"},
            )
        headers = {name: value.format(key=self._secret()) for name, value in self._headers.items()}
        url = yarl.URL(f"{self.url}{path}")
        try:
            return await self._session.request(method, url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError as error:
            raise ProviderTimeoutError("connect", self._connect_s) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError | ProviderUnavailableError:
        body = await response.read()
        try:
            message = _message_of(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError):
            message = body.decode(errors="replace")
        text = f"{self._name}: {response.status} {self._clean(message or response.reason or '')}"
        if response.status in _BUSY or response.status >= 500:  # noqa: PLR2004 -- HTTP's server errors
            return ProviderUnavailableError(text, retry_after=_retry_after_s(response.headers))
        return ProviderError(text)

    def _unreachable(self, error: Exception) -> ProviderUnavailableError:
        return ProviderUnavailableError(f"{self._name}: {self.url.host} cannot be reached: {self._clean(str(error))}")

    def _secret(self) -> str:
        return self._key.get_secret_value() if self._key is not None else ""

    def _clean(self, text: str) -> str:
        secret = self._secret()
        return (text.replace(secret, "***") if secret else text)[:_TEXT_LIMIT]


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body, if it comes now: only then the connection goes back to the pool."""
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(_LAST_BYTES_S):
            await response.content.readany()
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # the answer is complete: a connection that cannot be used again is no error of it


def _is_worth_waiting_for(error: BaseException) -> bool:
    return isinstance(error, ProviderUnavailableError) and (error.retry_after or 0) <= _LONGEST_WAIT_S


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    retry_after = error.retry_after if isinstance(error, ProviderUnavailableError) else None
    return _backoff_s(state) if retry_after is None else retry_after


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _message_of(body: object) -> str:
    """The text in the shapes endpoints use: ``{"error": {"message": …}}``, ``error``, ``message``, ``detail``."""
    if not isinstance(body, dict):
        return str(body)
    for key in ("error", "message", "detail"):
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if value:
            return str(value)
    return str(body)
