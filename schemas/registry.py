"""A schema registry's REST interface (Confluent's, and those that speak it): schema to id, id to schema."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from schemas.errors import EncodeError, RegistryUnavailableError

if TYPE_CHECKING:
    import requests

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_NOT_FOUND = 404
_SERVER_ERROR = 500
_THROTTLED = 429
#: Foreign bytes can name any id: how many unknown ones are remembered, and for how long (seconds).
_MISSING_LIMIT = 1024
_MISSING_TTL = 30.0


class SchemaRegistry:
    """Registers and looks up schemas; each answer is kept, since an id never changes its schema.

    Calls block, once for each schema: let :meth:`schemas.serdes.Codec.warm` make them before the loop runs.

    Args:
        url: The registry's address; user and password may stand in it.
        timeout_s: Seconds to connect, and seconds to wait for each answer.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._shown = f"schema registry {urlsplit(url).hostname}"  # without the password
        self._timeout_s = timeout_s
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[int, str] = {}
        self._missing: dict[int, float] = {}
        self._session: requests.Session | None = None
        self._lock = threading.Lock()

    def id_of(self, subject: str, schema: str) -> int:
        """The id of a schema (JSON text) under a subject; registers it on the first call.

        Raises:
            EncodeError: The registry refuses it, as incompatible with the subject's older ones for example.
            RegistryUnavailableError: It did not answer.
        """
        known = self._ids.get((subject, schema))
        if known is not None:
            return known
        status, answer = self._call("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": schema})
        schema_id = answer.get("id")
        if not isinstance(schema_id, int):
            raise EncodeError(f"the schema registry refuses {subject} ({status}): {answer.get('message', 'no id')}")
        self._ids[subject, schema] = schema_id
        self._schemas[schema_id] = schema
        return schema_id

    def schema_of(self, schema_id: int) -> str | None:
        """The Avro schema (JSON text) behind an id, None where the registry has none.

        Raises:
            ValueError: The id names a schema of another kind, or one in several parts.
            RegistryUnavailableError: The registry did not answer.
        """
        known = self._schemas.get(schema_id)
        if known is not None:
            return known
        if time.monotonic() < self._missing.get(schema_id, 0.0):
            return None
        status, answer = self._call("GET", f"/schemas/ids/{schema_id}")
        if status == _NOT_FOUND:
            if len(self._missing) >= _MISSING_LIMIT:
                self._missing.clear()
            self._missing[schema_id] = time.monotonic() + _MISSING_TTL
            return None
        schema = answer.get("schema")
        if not isinstance(schema, str) or answer.get("schemaType", "AVRO") != "AVRO" or answer.get("references"):
            raise ValueError(f"schema {schema_id} of the registry is not a self-contained Avro schema")
        self._schemas[schema_id] = schema
        return schema

    def close(self) -> None:
        """Closes the connection; a later call opens another."""
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        import requests  # 60 ms that a deployment without a registry does not pay

        with self._lock:
            if self._session is None:
                self._session = requests.Session()
                self._session.headers["Accept"] = _CONTENT_TYPE
            try:
                headers = {"Content-Type": _CONTENT_TYPE}
                response = self._session.request(
                    method, self._url + path, json=body, headers=headers, timeout=self._timeout_s
                )
                status = response.status_code
                answer = response.json() if status < _SERVER_ERROR else None
            except (requests.RequestException, ValueError) as error:
                raise RegistryUnavailableError(f"{self._shown}: {error}", retry_after=1.0) from error
        if status >= _SERVER_ERROR or status in {401, 403, _THROTTLED} or not isinstance(answer, dict):
            raise RegistryUnavailableError(f"{self._shown} answered {status}", retry_after=1.0)
        return status, answer
