"""How requests name sessions and messages: in paths, in headers, and back."""

from __future__ import annotations

import unicodedata
from typing import Final
from urllib.parse import quote, unquote

from starlette.requests import HTTPConnection

from barnabas.cursor import Cursor
from barnabas.gateway.problems import Refusal
from barnabas.gateway.security.principal import Principal
from topics.partitioner import session_key

#: Four bytes each, they fit into a record's key.
MAX_SESSION_CHARS: Final = 128
_MAX_KEY_BYTES: Final = 512

MAX_ID_CHARS: Final = 256

#: Fits into a header and a path as it is; a percent sign does not, since it begins an encoded byte.
_PLAIN: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"

SESSION_HEADER: Final = "X-Session-Id"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


def principal_of(connection: HTTPConnection) -> Principal:
    """Return who asks."""
    principal: Principal = connection.scope["state"]["principal"]
    return principal


def session_of(connection: HTTPConnection) -> str:
    """Return the session id in the path (``{id}``); behind a tenant it may have a ``/``, since Kafka may have such.

    Raises:
        Refusal: 422: it is too long, or has control characters.
        InvalidMessageError: It is impossible for another reason.
    """
    return _possible(connection.path_params["id"], principal_of(connection).tenant, field="id")


def checked_session(session_id: str, tenant: str | None, *, field: str) -> str:
    """Return the id of a session that a message is for; raises as :func:`session_of`, and where it has a ``/``.

    Without a tenant a ``/`` would name one. Behind a tenant a key could hold it; it is refused all the same, so that
    what a program calls its sessions does not depend on its key, and no proxy that decodes paths parts a session from
    its routes.
    """
    if "/" in session_id:
        raise Refusal(422, "invalid_session_id", "a session id has no '/'", field=field)
    return _possible(session_id, tenant, field=field)


def _possible(session_id: str, tenant: str | None, *, field: str) -> str:
    if len(session_id) > MAX_SESSION_CHARS:
        text = f"a session id has at most {MAX_SESSION_CHARS} characters"
    elif any(unicodedata.category(char) == "Cc" for char in session_id):
        text = "a session id has no control characters"
    elif len(session_key(session_id, tenant)) > _MAX_KEY_BYTES:
        text = f"tenant and session id have at most {_MAX_KEY_BYTES} bytes together"
    else:
        return session_id
    raise Refusal(422, "invalid_session_id", text, field=field)


def header_value(text: str) -> str:
    """Return a session id as a header holds it: percent-encoded where it is not printable ASCII."""
    return quote(text, safe=_PLAIN)


def from_header(text: str) -> str:
    """Undo :func:`header_value`; what is no UTF-8 becomes U+FFFD."""
    return unquote(text)


def idempotency_key(connection: HTTPConnection) -> str | None:
    """Return the ``Idempotency-Key``, without the quotes that its draft standard asks for; None where there is none.

    Raises:
        Refusal: 422: it is empty, too long, or not printable.
    """
    given = connection.headers.get(IDEMPOTENCY_HEADER)
    if given is None:
        return None
    key = given.strip()
    if not key or len(key) > MAX_ID_CHARS or not (key.isascii() and key.isprintable()):
        text = f"{IDEMPOTENCY_HEADER} has 1 to {MAX_ID_CHARS} printable ASCII characters"
        raise Refusal(422, "invalid_message_id", text, field=IDEMPOTENCY_HEADER)
    return key[1:-1] if len(key) > len('""') and key[0] == key[-1] == '"' else key


def stream_path(session_id: str, after: Cursor) -> str:
    """Return where a session's tokens behind a cursor are streamed."""
    return f"/sessions/{quote(session_id, safe='')}/stream?after={after}"
