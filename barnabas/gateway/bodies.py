"""Reads what a request says into structs, strictly, and names the field that is wrong; writes structs back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from barnabas.gateway.gateway import gateway_of
from barnabas.gateway.problems import Refusal

_T = TypeVar("_T")
_Query = TypeVar("_Query", bound=Struct)

_PLACE: Final = re.compile(r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>[^`]*)`)?", re.DOTALL)
_NAMED: Final = re.compile(r"(?:field|unknown field) `(?P<name>[^`]+)`")

_encoder: Final = msgspec.json.Encoder()
_decoders: Final[dict[Any, msgspec.json.Decoder[Any]]] = {}


async def read_body(request: Request, kind: type[_T], *, invalid: int = 422) -> _T:
    """Return the request's body.

    Args:
        request: Its media type has to be JSON's: a browser asks before it sends that to another origin, and sends
            anything else without asking.
        kind: A struct.
        invalid: The status of a body that is JSON and not such a struct.

    Raises:
        Refusal: 400 no JSON, 413 too long, 415 another media type, or ``invalid``; the field is named.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        shown = media[:64] or "none"
        raise Refusal(415, "unsupported_media_type", f"Content-Type has to be application/json, not {shown}")
    raw = await _read(request)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        decoded: _T = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise refusal_of(error, status=invalid) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, "malformed_json", f"the body is no JSON: {error}") from error
    return decoded


def read_query(connection: HTTPConnection, kind: type[_Query]) -> _Query:
    """Return the query parameters as a struct.

    Raises:
        Refusal: 422; the parameter is named.
    """
    found = connection.query_params
    for name in found:
        if len(found.getlist(name)) > 1:
            raise Refusal(422, "invalid_parameter", f"{name} is given more than once", field=name)
    try:
        return msgspec.convert(dict(found), kind, strict=False)
    except msgspec.ValidationError as error:
        raise refusal_of(error, status=422, code="invalid_parameter") from error


def refusal_of(error: msgspec.ValidationError, *, status: int, code: str = "invalid_body") -> Refusal:
    """Return what is said of a value that does not fit: the sentence, and its field."""
    match = _PLACE.fullmatch(str(error))
    path = (match["path"] if match else "") or ""
    named = _NAMED.search(str(error))
    field = ".".join(filter(None, (path, named["name"] if named else "")))
    return Refusal(status, code, str(error), field=field or None)


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a struct as JSON; nothing is to be cached."""
    return Response(_encoder.encode(body), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


async def _read(request: Request) -> bytes:
    longest = gateway_of(request).options.max_body_bytes
    too_long = Refusal(413, "body_too_large", f"a body has at most {longest} bytes")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > longest:
        raise too_long
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > longest:
            raise too_long
        parts.append(part)
    return b"".join(parts)
