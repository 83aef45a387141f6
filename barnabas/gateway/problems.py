"""What goes wrong, as a status and a body: problem+json (RFC 9457), or OpenAI's shape under ``/v1``."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from schemas.errors import (
    AnswerChangedError,
    AnswerTimeoutError,
    BarnabasError,
    BrokerError,
    ClientError,
    CursorError,
    CursorExpiredError,
    DeliveryUnknownError,
    EncodeError,
    ForbiddenError,
    HistoryLostError,
    InvalidMessageError,
    NotFoundError,
    RecordTooLargeError,
    RegistryUnavailableError,
    RetryableError,
    SlowSubscriberError,
    TurnCancelledError,
    TurnError,
    UnauthenticatedError,
)

logger = logging.getLogger(__name__)

#: Below it errors have OpenAI's shape.
OPENAI_PREFIX: Final = "/v1/"

#: The nearest class of an error's own line counts.
_STATUSES: Final[Mapping[type[BarnabasError], int]] = {
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    NotFoundError: 404,
    InvalidMessageError: 422,
    EncodeError: 422,
    CursorError: 400,
    CursorExpiredError: 410,
    HistoryLostError: 410,
    RecordTooLargeError: 413,
    TurnCancelledError: 409,
    AnswerChangedError: 502,
    AnswerTimeoutError: 504,
    DeliveryUnknownError: 503,
    RegistryUnavailableError: 503,
    SlowSubscriberError: 503,
    BrokerError: 503,
    ClientError: 503,  # closed: the gateway is on its way out
    RetryableError: 503,
    BarnabasError: 500,
}

#: Of turns without an answer, by cause; others are the model's failure.
_CAUSES: Final[Mapping[str, int]] = {
    "overloaded": 503,
    "pool_timeout": 503,
    "provider_timeout": 504,
    "turn_timeout": 504,
    "internal": 500,
    "step_limit": 500,
    "empty_text": 422,
    "oversized_text": 422,
    "invalid_deadline": 422,
    "invalid_limit": 422,
    "unknown_agent": 422,
}

#: Trying the same again does not help: the message is in Kafka and has, or will have, its outcome.
_SETTLED: Final = (AnswerTimeoutError, AnswerChangedError, DeliveryUnknownError)


class Refusal(HTTPException):
    """A request that cannot be served as it is.

    Args:
        status: HTTP's.
        code: A stable name.
        detail: A sentence for people.
        field: The field, parameter or header that is to blame.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.code, self.field = code, field


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem (RFC 9457).

    Attributes:
        type: Names the kind: ``urn:barnabas:problem:`` and the code.
        title: The status in words.
        status: HTTP's.
        code: A stable name; see the reference of errors.
        detail: What happened, for people.
        field: The field, parameter or header that is to blame.
        cause: Of a turn without an answer: the code of its cause.
        earliest: Of a cursor whose records are gone: the cursor to begin at.
        cursor: Where to go on reading.
        session_id: Of a turn without an answer; so are ``turn_id`` and ``message_id``.
        turn_id: The turn.
        message_id: The message.
    """

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None = None
    cause: str | None = None
    earliest: str | None = None
    cursor: str | None = None
    session_id: str | None = None
    turn_id: str | None = None
    message_id: str | None = None


class OpenAIError(Struct, frozen=True, kw_only=True):
    """What went wrong, as OpenAI says it.

    Attributes:
        message: What happened, for people.
        type: Its family.
        param: The field that is to blame.
        code: A stable name.
    """

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(Struct, frozen=True):
    """The body of a refused request."""

    error: OpenAIError


def problem_of(error: Exception) -> Problem:
    """Return what is said of an error; of one that nobody expected, nothing but that."""
    if isinstance(error, HTTPException):
        code = error.code if isinstance(error, Refusal) else HTTPStatus(error.status_code).name.lower()
        field = error.field if isinstance(error, Refusal) else None
        return _problem(error.status_code, code, error.detail, field=field)
    if not isinstance(error, BarnabasError):
        return _problem(500, "internal", "the gateway failed at this request; its log says why")
    status = _status_of(error)
    if isinstance(error, InvalidMessageError):
        return _problem(status, error.reason, str(error))
    if isinstance(error, TurnError):
        ids = {"turn_id": error.turn_id, "message_id": error.message_id}
        return _problem(status, error.code, str(error), cause=error.cause, **ids)
    places = {name: getattr(error, name, None) for name in ("earliest", "cursor")}
    return _problem(status, error.code, str(error), **places)


def error_of(problem: Problem) -> OpenAIErrorBody:
    """Return a problem in OpenAI's words."""
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    usual = "server_error" if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    kind = kinds.get(problem.status, usual)
    code = problem.cause or problem.code
    return OpenAIErrorBody(OpenAIError(message=problem.detail, type=kind, param=problem.field, code=code))


def respond(error: Exception, path: str) -> Response:
    """Return the response to a request that failed."""
    problem = problem_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is None and problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        retry_after = 1.0
    if retry_after is not None:
        headers.setdefault("Retry-After", str(math.ceil(retry_after)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", _challenge("invalid_token" if _had_credentials(error) else None))
    elif isinstance(error, ForbiddenError) and error.scope is not None:
        headers.setdefault("WWW-Authenticate", f'{_challenge("insufficient_scope")}, scope="{error.scope}"')
    headers["Cache-Control"] = "no-store"
    if path.startswith(OPENAI_PREFIX):
        if may_not_retry(error):
            headers["X-Should-Retry"] = "false"  # the client's own word for it
        return Response(msgspec.json.encode(error_of(problem)), problem.status, headers, "application/json")
    return Response(msgspec.json.encode(problem), problem.status, headers, "application/problem+json")


def _had_credentials(error: Exception) -> bool:
    return isinstance(error, UnauthenticatedError) and error.had_credentials


def _challenge(cause: str | None) -> str:
    """Return the scheme that is expected, and what was wrong (RFC 6750); without credentials nothing was."""
    return 'Bearer realm="barnabas"' + (f', error="{cause}"' if cause else "")


def may_not_retry(error: Exception) -> bool:
    """Say whether OpenAI's client, which repeats every failed request by itself, has to be told not to.

    A turn that failed is an outcome; a message that may be in Kafka would be there twice.
    """
    if isinstance(error, TurnError):
        return error.retry_after is None
    return isinstance(error, _SETTLED)


class ProblemBoundary:
    """Answers for everything within that raises: middleware, routing and handlers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:  # while its body was read: there is nobody to tell
            pass
        except Exception as error:
            if not isinstance(error, BarnabasError | HTTPException):
                logger.exception("%s %s failed", scope["method"], scope["path"])
            if has_begun:
                raise
            await respond(error, scope["path"])(scope, receive, send)


def _status_of(error: BarnabasError) -> int:
    if isinstance(error, TurnError) and error.cause is not None:
        return _CAUSES.get(error.cause, 502)
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def _problem(status: int, code: str, detail: str, **more: Any) -> Problem:
    title = HTTPStatus(status).phrase
    kind = f"urn:barnabas:problem:{code}"
    return Problem(type=kind, title=title, status=status, code=code, detail=detail, **more)
