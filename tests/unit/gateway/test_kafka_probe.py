"""Whether Kafka answers, where none does."""

import asyncio

from barnabas.gateway.kafka_probe import KafkaProbe
from infra.ports import free_port


async def test_no_broker_is_a_problem_asked_for_once() -> None:
    """Any number of probes share one question. Mutant: each asks, and blocks a thread for its time-out."""
    probe = KafkaProbe({"bootstrap.servers": f"127.0.0.1:{free_port()}"}, "messages")
    asked = 0
    ask = probe._ask

    def counted() -> str | None:
        nonlocal asked
        asked += 1
        return ask()

    probe._ask = counted  # type: ignore[method-assign]
    problems = await asyncio.gather(*(probe.problem() for _ in range(20)))
    assert (asked, len({*problems})) == (1, 1)
    assert (problems[0] or "").startswith("Kafka does not answer (")
