"""A function becomes a tool: its schema, its arguments, and what is refused."""

from typing import Annotated, Literal

import msgspec
import pytest

from schemas.errors import SettingsError
from streams.tools import Tool, ToolContext, load_tool, tool

CONTEXT = ToolContext(session_id="s", turn_id="t", message_id="m", step=1, call_id="c")


@tool(timeout_s=5)
async def weather(
    city: Annotated[str, msgspec.Meta(description="Where.")], context: ToolContext, unit: Literal["c", "f"] = "c"
) -> str:
    """The temperature in a city."""
    return f"{city} {unit} {context.call_id}"


class Place(msgspec.Struct):
    """A point."""

    lat: float
    lon: float


def test_tool_annotations_become_the_schema_without_the_context() -> None:
    """Required and optional parameters, descriptions, no room for others; the model never sees the context."""
    assert weather.spec.name == "weather"
    assert weather.spec.description == "The temperature in a city."
    assert weather.spec.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "unit": {"enum": ["c", "f"], "default": "c"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


def test_tool_nested_struct_is_defined_beside_the_root() -> None:
    """Endpoints want an object at the root; what it refers to stands in ``$defs``."""

    @tool
    def near(place: Place) -> str:
        return str(place.lat)

    schema = near.spec.parameters
    assert schema["properties"] == {"place": {"$ref": "#/$defs/Place"}}
    assert set(schema["$defs"]) == {"Place"}
    assert near.bind('{"place": {"lat": 1, "lon": 2}}', CONTEXT) == {"place": Place(1.0, 2.0)}


async def test_bind_arguments_are_checked_and_the_context_is_handed_in() -> None:
    """Defaults apply; a wrong type, an unknown field and no JSON are errors."""
    assert weather.bind('{"city": "Bern"}', CONTEXT) == {"city": "Bern", "unit": "c", "context": CONTEXT}
    assert await weather(**weather.bind('{"city": "Bern", "unit": "f"}', CONTEXT)) == "Bern f c"
    for wrong in ('{"city": 1}', '{"city": "Bern", "unit": "k"}', '{"city": "Bern", "context": {}}', "{", "[]"):
        with pytest.raises(msgspec.MsgspecError):
            weather.bind(wrong, CONTEXT)


def test_idempotency_key_is_of_the_call() -> None:
    """The key does not depend on attempt or worker."""
    assert CONTEXT.idempotency_key == "t-1-c"


def test_load_tool_paths() -> None:
    """A tool, a plain function, and three things that are neither."""
    assert load_tool(f"{__name__}:weather") is weather
    plain = load_tool("string:capwords")
    assert isinstance(plain, Tool)
    for path in ("nothing", "no_such_module:x", "string:no_such_name", "string:digits"):
        with pytest.raises(SettingsError, match=path.partition(":")[0]):
            load_tool(path)


def test_tool_what_a_model_cannot_call_is_refused() -> None:
    """Names, time-outs and parameters that cannot come as JSON."""

    def stars(*numbers: int) -> None: ...

    def opaque(thing: object) -> None: ...

    for make in (lambda: tool(stars), lambda: tool(name="a b")(opaque), lambda: tool(timeout_s=0)(opaque)):
        with pytest.raises(SettingsError, match="tool"):
            make()
