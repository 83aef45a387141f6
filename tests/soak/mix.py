"""What real users do, at random from a seed: agents, lengths, pauses, cancels, erasures; and a stress of memory."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles

from schemas.tokens import TokenKind
from state.decoded import KEPT_BYTES
from state.options import StoreOptions
from tests.soak.driver import Driver, Question
from tests.soak.finding import Finding
from tests.soak.pace import Pace
from tests.soak.process import watched_process
from tests.soak.resources import findings_since, held_by
from tests.soak.tools import tools_agent
from tests.support.deployment import Deployment

_SAMPLE_S = 0.5
_MIB = 1024 * 1024

#: A worker's bounded memory beside RocksDB's, in MiB: sessions decoded (about twice their encoded size), and what the
#: client libraries queue and the allocator keeps.
_DECODED_MIB = 2 * KEPT_BYTES / _MIB
_OTHERS_MIB = 64

#: The agent whose model calls tools.
_TOOLS = "tools"
_WORDS = ("the", "castle", "messenger", "waits", "at", "door", "while", "a", "letter", "is", "read", "answered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """A population of users.

    Attributes:
        agents: How many agents are declared, each with its own length and speed of answers and its own memory.
        users: How many users are there at once; each leaves after a session, and another comes.
        turns: Mean number of turns a session (geometric: most are short, some long).
        words: Mean number of words a message (exponential).
        think_s: Mean pause before the next message (exponential), in seconds; 0 for none.
        memory_tokens: The agents' budgets of memory lie between a tenth of this and this.
        actions: What a user does next, each with its weight.
    """

    agents: int
    users: int
    turns: float
    words: float
    think_s: float
    memory_tokens: int
    actions: dict[str, float] = field(default_factory=lambda: {"ask": 0.8, "tools": 0.1, "cancel": 0.08, "erase": 0.02})

    def settings(self, folder: Path) -> dict[str, str]:
        """The worker's environment; ``folder`` is for files that it names."""
        made = random.Random(self.agents)
        agents: dict[str, dict[str, object]] = {
            f"agent-{number}": {
                "model": f"echo:{made.randint(5, 60)}@{made.choice([0, 0.002, 0.01])}",
                "memory_tokens": made.randint(self.memory_tokens // 10, self.memory_tokens),
            }
            for number in range(self.agents)
        }
        agents[_TOOLS] = tools_agent(folder)
        return {"BARNABAS_AGENTS": json.dumps(agents), "BARNABAS_DEFAULT_AGENT": "agent-0"}


#: ``--agents`` overrides their number.
REALISTIC = Mix(agents=5, users=60, turns=6, words=20, think_s=0.5, memory_tokens=1200)
STRESS = Mix(agents=20, users=200, turns=30, words=300, think_s=0.0, memory_tokens=20_000)


class Users:
    """The users of a mix; what they asked and how it ended is counted, not kept.

    A further kind of behaviour (an approval) is one more method and a weight in ``Mix.actions``.
    """

    def __init__(self, mix: Mix, driver: Driver, *, seed: int) -> None:
        self._mix, self._driver = mix, driver
        self._random = random.Random(seed)
        self._sessions = 0
        self._actions: dict[str, Callable[[str, str, str], Awaitable[TokenKind]]] = {
            "ask": self._ask,
            "tools": self._ask_with_tools,
            "cancel": self._cancel,
            "erase": self._erase,
        }
        self.is_over = False
        self.messages = 0
        #: By action and kind.
        self.outcomes: Counter[str] = Counter()
        #: What should not have happened: the first few.
        self.surprises: list[str] = []
        self.first_token_ms: list[float] = []

    async def run(self) -> None:
        """Come and go until ``is_over``, then finish what is under way."""
        await asyncio.gather(*(self._user() for _ in range(self._mix.users)))

    async def _user(self) -> None:
        while not self.is_over:
            self._sessions += 1
            session = f"user-{self._sessions}"
            agent = f"agent-{self._random.randrange(self._mix.agents)}"
            number = 0
            is_leaving = False
            while not (is_leaving or self.is_over):
                await self._act(session, f"{session}-{number}", agent)
                number += 1
                is_leaving = self._random.random() < 1 / self._mix.turns
                if self._mix.think_s:
                    await asyncio.sleep(self._random.expovariate(1 / self._mix.think_s))

    async def _act(self, session: str, message_id: str, agent: str) -> None:
        names = [*self._mix.actions]
        action = self._random.choices(names, [*self._mix.actions.values()])[0]
        self.messages += 1
        try:
            outcome = await self._actions[action](session, message_id, agent)
        except TimeoutError:
            self.outcomes[f"{action}: never"] += 1
            self.surprises.append(f"{action} {message_id} of {agent} was not answered")
            return
        self.outcomes[f"{action}: {outcome}"] += 1
        if outcome is TokenKind.FAILED or (outcome is TokenKind.CANCELLED and action != "cancel"):
            self.surprises.append(f"{action} {message_id} of {agent}: {outcome}")

    async def _ask(self, session: str, message_id: str, agent: str) -> TokenKind:
        question = self._publish(session, message_id, agent)
        outcome = await self._driver.outcome(question)
        if not question.began.cancelled():
            self.first_token_ms.append(1000 * question.began.result())
        return outcome

    async def _ask_with_tools(self, session: str, message_id: str, _agent: str) -> TokenKind:
        return await self._ask(session, message_id, _TOOLS)

    async def _cancel(self, session: str, message_id: str, agent: str) -> TokenKind:
        """Cancel some time after asking: before the message is seen, while it is answered, or when all is over."""
        question = self._publish(session, message_id, agent)
        await asyncio.sleep(self._random.expovariate(10))
        self._driver.cancel(session, message_id)
        return await self._driver.outcome(question)

    async def _erase(self, session: str, message_id: str, _agent: str) -> TokenKind:
        return await self._driver.erase(session, message_id)

    def _publish(self, session: str, message_id: str, agent: str) -> Question:
        words = 1 + int(self._random.expovariate(1 / self._mix.words))
        return self._driver.publish(
            session, message_id, text=" ".join(self._random.choices(_WORDS, k=words)), agent=agent
        )


async def run_mix(deployment: Deployment, mix: Mix, pace: Pace, *, name: str, seed: int) -> list[Finding]:
    """Let the users of ``mix`` at a worker process for the time of ``pace``, and judge answers, memory and handles."""
    async with watched_process(deployment, mix.settings(deployment.folder)) as (process, driver):
        users = Users(mix, driver, seed=seed)
        running = asyncio.create_task(users.run())
        before = None
        samples: list[float] = []
        began = time.monotonic()
        for _ in pace.cycles(name, at_least=1):
            await asyncio.sleep(_SAMPLE_S)
            before = before or held_by(process)  # with all its connections open
            samples.append(process.memory_info().rss / _MIB)
        users.is_over = True
        await running
        found = [_answers(name, users, time.monotonic() - began), _memory(name, samples, deployment.partitions)]
        return [*found, *(await findings_since(before, name, lambda: held_by(process)) if before else ())]


def _answers(name: str, users: Users, seconds: float) -> Finding:
    cuts = quantiles(users.first_token_ms, n=100)
    outcomes = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(users.outcomes.items()))
    detail = (
        f"{users.messages:,} messages in {seconds:.0f} s ({outcomes}); "
        f"first token p50 {cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms, max {max(users.first_token_ms):.0f} ms"
    )
    return Finding(f"{name}: answers", bool(users.surprises), detail, tuple(users.surprises[:10]))


def _memory(name: str, samples: list[float], partitions: int) -> Finding:
    """Judge growth by what a worker may keep: its caches fill for long, and stop at their bounds."""
    store = StoreOptions()
    rocksdb_mib = (store.block_cache_bytes + 2 * store.write_buffer_bytes * partitions) / _MIB
    bound_mib = rocksdb_mib + _DECODED_MIB + _OTHERS_MIB
    grown_mib = max(samples) - samples[0]
    detail = (
        f"{samples[0]:.0f} MiB at first, {max(samples):.0f} at most, {samples[-1]:.0f} at last: grown by "
        f"{grown_mib:.0f} MiB of {bound_mib:.0f} that its caches may take"
    )
    return Finding(f"{name}: resident memory", grown_mib > bound_mib, detail)
