"""The OpenAPI document is true: schemathesis makes requests from it, and judges the responses by it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.support.deployment import Deployment
from tests.support.gateway import GatewayProcess
from tests.support.patience import ANSWER_S, CONDITION_S

#: JSON Schema cannot say that the last message is the user's, what an agent's limit is, nor which days there are.
_BEYOND_WORDS = {"create_chat_completion", "list_sessions", "show_session"}

#: Nor which agents and cursors there are, nor what moments look like.
_UNTOLD = {"agent", "cursor", "after", "at", "since", "until"}

_EXAMPLES = 8


@pytest.mark.timeout(300)
def test_every_operation_does_what_the_document_says(served: Deployment, gateway: GatewayProcess) -> None:
    """No 5xx, no undocumented status, media type or body; what fits is taken and what does not is refused."""
    for partition in range(served.partitions):  # the first question about each is answered with 503 where it takes long
        _have_indexed(f"{gateway.url}/sessions/{served.session_on(partition)}/events")
    document = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    tried = []
    for found in document.get_all_operations():
        operation = found.ok()
        if not _is_endless(operation.definition.raw):
            tried.append(operation.label)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                _try(operation, mode)
    assert "POST /v1/chat/completions" in tried


def _have_indexed(url: str) -> None:
    deadline = time.monotonic() + CONDITION_S
    while httpx.get(url, timeout=ANSWER_S).status_code == 503:
        assert time.monotonic() < deadline, f"{url} cannot be read"
        time.sleep(0.1)


def _try(operation: Any, mode: GenerationMode) -> None:
    name = operation.definition.raw["operationId"]
    excluded = [schemathesis.checks.positive_data_acceptance] if name in _BEYOND_WORDS else []

    @settings(
        max_examples=_EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
        derandomize=True,
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: schemathesis.Case) -> None:
        for given_fields in (case.body, case.query) if mode is GenerationMode.POSITIVE else ():
            for name in _UNTOLD & (given_fields.keys() if isinstance(given_fields, dict) else set()):
                del given_fields[name]
        case.call_and_validate(excluded_checks=excluded, timeout=ANSWER_S)

    with suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):  # where nothing can be said wrongly
        conforms()


def _is_endless(operation: dict[str, Any]) -> bool:
    """Whether it is a stream without an end, which nobody can wait for."""
    return [*operation["responses"].get("200", {}).get("content", {})] == ["text/event-stream"]
