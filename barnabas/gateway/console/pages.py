"""Serves the console: the page is asked for anew each time, its assets are kept for ever."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from barnabas.gateway.console.bundle import File, bundle
from barnabas.gateway.operation import Header, Reply, operation
from barnabas.gateway.problems import Refusal

#: The page's own files and its own gateway; nothing inline, nothing from elsewhere, in nobody's frame. Markup becomes
#: a page only through the one library that cleans it (Trusted Types).
CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dompurify"
)

#: An asset's name carries a hash of its content.
_FOR_EVER: Final = "public, max-age=31536000, immutable"

_KNOWN: Final = Header(name="If-None-Match", text="Entity tags that the client has.")
_UNCHANGED: Final = Reply(None, "The client has it.")


def routes() -> list[BaseRoute]:
    """Return ``/`` and ``/assets/…``; the files are read now, so that one that is missing shows at the start."""
    bundle()
    return [Route("/", index, methods=["GET"]), Route("/assets/{name}", asset, methods=["GET"])]


@operation(
    "Show the console",
    tag="console",
    scope=None,
    headers=(_KNOWN,),
    replies={200: Reply(str, "The page.", media=("text/html",)), 304: _UNCHANGED},
)
async def index(request: Request) -> Response:
    """A page for people: chat, sessions and their past, dead letters, figures."""
    return _served(request, bundle().index, {"Cache-Control": "no-cache"})


@operation(
    "Fetch an asset of the console",
    tag="console",
    scope=None,
    headers=(_KNOWN,),
    replies={
        200: Reply(str, "Kept for ever.", media=("text/javascript", "text/css", "image/svg+xml", "text/plain")),
        304: _UNCHANGED,
    },
    refusals=(404,),
)
async def asset(request: Request) -> Response:
    """A script, a style sheet, an icon, or the licences of the libraries in them."""
    found = bundle().assets.get(request.path_params["name"])
    if found is None:
        raise Refusal(404, "not_found", "there is no such asset; reload the page")
    return _served(request, found, {"Cache-Control": _FOR_EVER})


def _served(request: Request, file: File, headers: dict[str, str]) -> Response:
    packed = file.packed if _takes_gzip(request.headers.get("accept-encoding", "")) else None
    # Two representations, two strong tags.
    etag = file.etag if packed is None else f'{file.etag[:-1]}-gzip"'
    headers |= {
        "ETag": etag,
        "Vary": "Accept-Encoding",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if etag in (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = file.media
    if packed is None:
        return Response(file.body, headers=headers)
    return Response(packed, headers={**headers, "Content-Encoding": "gzip"})


def _takes_gzip(accepted: str) -> bool:
    for word in accepted.split(","):
        name, _, parameters = word.partition(";")
        if name.strip().lower() in {"gzip", "*"}:
            weight = parameters.partition("=")[2].strip()
            return not weight or weight.strip("0.") != ""
    return False
