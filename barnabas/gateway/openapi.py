"""``/openapi.json``: the interface's description, made from the routes and their handlers' own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.operation import JSON, Operation, Reply, operation, operation_of
from barnabas.gateway.problems import OpenAIErrorBody, Problem

_REF: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(?P<name>\w+)(?::\w+)?\}")
_ATTRIBUTE: Final = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.+)")

#: What a path parameter may be; a session id has no control characters, and its key has to fit into a record.
_PATH_VALUE: Final = {
    "type": "string",
    "minLength": 1,
    "maxLength": 128,
    "pattern": r"^[^/\u0000-\u001f\u007f-\u009f]+$",
}

#: Of every operation that asks who calls.
_OF_CALLERS: Final = (401, 403, 429)

_REFUSALS: Final[Mapping[int, str]] = {
    400: "The request cannot be understood.",
    401: "It does not say who asks.",
    403: "The caller may not do that.",
    404: "There is no such thing, or it is not the caller's.",
    409: "The turn was cancelled.",
    410: "It is gone by retention.",
    413: "The body, or the record that it makes, is too long.",
    415: "The body is not JSON.",
    422: "A field or parameter is wrong; it is named.",
    429: "Too many requests, or open streams.",
    500: "The turn failed within.",
    502: "The model failed.",
    503: "Kafka does not answer, or there is too much to do; `Retry-After` says when to try again.",
    504: "There is no answer in time; the message is in Kafka and will be answered.",
}


@operation("This document", tag="health", scope=None, replies={200: Reply(dict[str, Any], "An OpenAPI 3.1 document.")})
async def openapi(request: Request) -> Response:
    """Made from the code."""
    return Response(_encoded(request.app), media_type=JSON)


def routes() -> list[BaseRoute]:
    """Return the module's routes."""
    return [Route("/openapi.json", openapi, methods=["GET"])]


@cache
def _encoded(app: Any) -> bytes:
    return msgspec.json.encode(document(app.routes))


def document(found: Iterable[BaseRoute]) -> dict[str, Any]:
    """Return the document of all described routes."""
    described = [*_described(found)]
    kinds: set[Any] = {Problem, OpenAIErrorBody}
    for _, _, told in described:
        kinds.update(reply.body for reply in told.replies.values() if _is_struct(reply.body))
        kinds.update(kind for kind in (told.body, told.query) if _is_struct(kind))
    ordered = sorted(kinds, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    own = dict(zip(ordered, schemas, strict=True))
    for kind in ordered:
        _explain(kind, components)
    paths: dict[str, dict[str, Any]] = {}
    for route, method, told in described:
        path = _PARAMETER.sub(r"{\g<name>}", route.path)
        paths.setdefault(path, {})[method] = _said(route, told, own, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Barnabas",
            "version": version("barnabas"),
            "description": "An event-sourced streaming agent service on Kafka.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(found: Iterable[BaseRoute]) -> Iterator[tuple[Route, str, Operation]]:
    for route in found:
        told = operation_of(route.endpoint) if isinstance(route, Route) else None
        if isinstance(route, Route) and told is not None:
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield route, method.lower(), told


def _said(route: Route, told: Operation, own: Mapping[Any, Any], components: dict[str, Any]) -> dict[str, Any]:
    names = [match["name"] for match in _PARAMETER.finditer(route.path)]
    parameters = [{"name": name, "in": "path", "required": True, "schema": _PATH_VALUE} for name in names]
    parameters += [*_query_parameters(told.query, components)]
    parameters += [
        {"name": header.name, "in": "header", "description": header.text, "schema": header.schema}
        for header in told.headers
    ]
    said: dict[str, Any] = {
        "operationId": route.endpoint.__name__,
        "summary": told.summary,
        "description": " ".join(told.description.split()),
        "tags": [told.tag],
        "parameters": parameters,
        "responses": {str(status): _reply(reply, own) for status, reply in told.replies.items()},
        "security": [{}, {"bearer": []}] if _asks(told) else [],
    }
    if told.scope is not None:
        said["x-scope"] = told.scope
    if told.body is not None:
        said["requestBody"] = {"required": True, "content": {JSON: {"schema": own[told.body]}}}
    media, kind = ("application/problem+json", Problem) if told.style == "problem" else (JSON, OpenAIErrorBody)
    for status in (*told.refusals, *(_OF_CALLERS if told.scope is not None else ())):
        refusal = {"description": _REFUSALS[status], "content": {media: {"schema": own[kind]}}}
        said["responses"].setdefault(str(status), refusal)
    return said


def _asks(told: Operation) -> bool:
    """Whether callers have to say who they are; some operations take anybody who does."""
    return told.scope is not None or 401 in told.refusals  # noqa: PLR2004


def _reply(reply: Reply, own: Mapping[Any, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {"description": reply.text}
    if reply.headers:
        said["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in reply.headers.items()
        }
    if reply.body is not None:
        schema = own[reply.body] if _is_struct(reply.body) else msgspec.json.schema(reply.body)
        # A stream of events is text whose parts are of that schema.
        said["content"] = {
            media: {"schema": schema if media == JSON or not _is_struct(reply.body) else {"type": "string"}}
            for media in reply.media
        }
    return said


def _query_parameters(kind: type[Struct] | None, components: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if kind is None:
        return
    told = components.pop(kind.__name__)
    for name, schema in told["properties"].items():
        text = schema.pop("description", "")
        is_required = name in told.get("required", ())
        # A parameter is there or not: none is null.
        choices = [choice for choice in schema.pop("anyOf", ()) if choice != {"type": "null"}]
        schema.update(choices[0] if len(choices) == 1 else {"anyOf": choices} if choices else {})
        if schema.get("default", ...) is None:
            del schema["default"]
        yield {"name": name, "in": "query", "required": is_required, "description": text, "schema": schema}


def _explain(kind: type[Struct], components: dict[str, Any]) -> None:
    """Put the docstring's words where they belong: the struct's own, and each field's."""
    told = components.get(kind.__name__, {})
    lines = (kind.__doc__ or "").strip().splitlines()
    head = lines.index("") if "" in lines else len(lines)
    told.update(getattr(kind, "schema_extra", {}))
    told["description"] = " ".join(line.strip() for line in lines[:head])
    shown = {field.name: field.encode_name for field in msgspec.structs.fields(kind)}
    for name, text in _attributes(lines):
        found = told.get("properties", {}).get(shown.get(name))
        if found is not None:
            found.setdefault("description", text)


def _attributes(lines: list[str]) -> Iterator[tuple[str, str]]:
    inside, found = False, dict[str, str]()
    latest: list[str] = []
    for line in map(str.strip, lines):
        match = _ATTRIBUTE.fullmatch(line) if inside else None
        if line == "Attributes:":
            inside = True
        elif not line:
            inside = False
        elif match is not None:
            latest = match["names"].split(", ")
            found.update(dict.fromkeys(latest, match["text"]))
        elif inside:
            found.update({name: f"{found[name]} {line}" for name in latest})
    yield from found.items()


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)
