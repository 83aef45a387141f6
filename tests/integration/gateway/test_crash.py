"""A worker dies in the middle of an answer that an OpenAI client reads."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.support.deployment import Deployment, stuck_script
from tests.support.gateway import GatewayProcess


@pytest.mark.crash
def test_killed_worker_does_not_show_in_the_answer(deployment: Deployment) -> None:
    """The next worker begins the answer again; its client, which cannot take anything back, is given each word once.

    Mutant: the text behind a ``reset`` is appended, and the answer is "a ba b c d e f".
    """
    worker = deployment.start("w1", script=stuck_script(medium=2))
    worker.wait_ready()
    with (
        GatewayProcess(deployment) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client,
    ):
        question: list[Any] = [{"role": "user", "content": "medium answer"}]
        stream = client.chat.completions.create(model="assistant", messages=question, user="ada", stream=True)
        words = (chunk.choices[0].delta.content or "" for chunk in stream)
        text = ""
        while "b" not in text:
            text += next(words)
        deployment.kill(worker)
        deployment.start("w2")
        assert text + "".join(words) == "a b c d e f"
        assert len(deployment.calls()) == 2
