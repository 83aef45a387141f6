"""Every example in the client's docstrings is run."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import barnabas
import barnabas.cursor
import barnabas.history.moment
from barnabas import Client, SyncClient
from schemas.errors import BarnabasError
from tests.support.deployment import Deployment

DOCUMENTED = [
    (owner, name)
    for owner in (Client, SyncClient)
    for name, member in [("", owner), *vars(owner).items()]
    if ">>>" in (member.__doc__ or "")
]


def example_of(owner: type, name: str) -> Callable[..., Any]:
    """Return the function that an example defines."""
    member: Any = getattr(owner, name) if name else owner
    code = "".join(example.source for example in doctest.DocTestParser().get_examples(inspect.getdoc(member) or ""))
    space: dict[str, Any] = {"Path": Path, "BarnabasError": BarnabasError, **vars(barnabas)}
    space |= {each: getattr(barnabas, each) for each in barnabas.__all__}
    before = set(space)
    exec(compile(code, f"{owner.__name__}.{name}", "exec", dont_inherit=True), space)
    (made,) = [space[each] for each in space.keys() - before if each != "__builtins__"]
    return made  # type: ignore[no-any-return]


@pytest.fixture
def surroundings(served: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let ``Client()`` find the deployment; what examples write goes to the test's own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", served.bootstrap_servers)
    monkeypatch.setenv("BARNABAS_PREFIX", served.names.prefix)
    monkeypatch.setenv("BARNABAS_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("owner", "name"), [pytest.param(*one, id=f"{one[0].__name__}.{one[1]}") for one in DOCUMENTED]
)
async def test_example_runs(owner: type, name: str, client: Client, surroundings: None) -> None:
    """With the arguments that its signature asks for by name."""
    example = example_of(owner, name)
    await client.ask("ada", "fast hello")
    given = {"client": client, "saved": None, "lines": ["one", "two"], "offset": 0}
    wanted = inspect.signature(example).parameters
    if "sent" in wanted:
        given["sent"] = await client.send("ada", "fast you")
    result = example(**{each: given[each] for each in wanted})
    if inspect.isawaitable(result):
        await result


@pytest.mark.parametrize("module", [barnabas, barnabas.cursor, barnabas.history.moment])
def test_doctests_hold(module: Any) -> None:
    """Those that show results."""
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_examples_are_found() -> None:
    """At least one a noun."""
    assert {
        "",
        "send",
        "send_many",
        "cancel",
        "stream",
        "ask",
        "replay",
        "events",
        "session",
        "diff",
        "transcript",
    } <= {name for owner, name in DOCUMENTED if owner is Client}
