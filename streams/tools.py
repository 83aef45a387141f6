"""A tool: a function of the user's that a model may call, with the JSON Schema of its arguments."""

from __future__ import annotations

import importlib
import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, overload

import msgspec

from schemas.errors import SettingsError
from streams.providers.protocol import ToolSpec

#: Longest time a tool may take where it says nothing else, in seconds.
TIMEOUT_S: Final = 30.0

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Which call a tool answers; a parameter annotated with this type gets it, and the model never sees it."""

    session_id: str
    turn_id: str
    message_id: str
    step: int
    call_id: str

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this call, whatever worker makes it: hand it to what the tool calls."""
        return f"{self.turn_id}-{self.step}-{self.call_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One tool; made by :func:`tool`.

    Attributes:
        function: The user's own, plain or ``async``; calling the tool calls it.
        spec: What the model is told.
        arguments: The struct that a call's JSON is decoded into; its errors go back to the model.
        context_parameter: The parameter that gets the :class:`ToolContext`, if there is one.
        timeout_s: Longest time a call may take, in seconds.
        is_idempotent: Whether a call that was cut off may be made again.
    """

    function: Callable[..., Any]
    spec: ToolSpec
    arguments: type[msgspec.Struct] = field(repr=False)
    context_parameter: str | None = None
    timeout_s: float = TIMEOUT_S
    is_idempotent: bool = False

    @property
    def name(self) -> str:
        """How a model calls it."""
        return self.spec.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as its own tests do."""
        return self.function(*args, **kwargs)

    def bind(self, arguments: str, context: ToolContext) -> dict[str, Any]:
        """Return the function's keyword arguments for a call's JSON.

        Raises:
            msgspec.MsgspecError: ``arguments`` is no JSON, or does not fit the function's annotations.
        """
        decoded = msgspec.json.decode(arguments or "{}", type=self.arguments)
        bound = {name: getattr(decoded, name) for name in self.arguments.__struct_fields__}
        if self.context_parameter is not None:
            bound[self.context_parameter] = context
        return bound


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = TIMEOUT_S,
    is_idempotent: bool = False,
) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float = TIMEOUT_S,
    is_idempotent: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function, plain or ``async``.

    Its annotations become the JSON Schema (``typing.Annotated[str, msgspec.Meta(description=...)]`` describes a
    parameter), its docstring the description. What it returns is sent to the model: text as it is, anything
    else as JSON. What it raises is told to the model as an error. A plain function runs in a thread.

    A call never runs twice: where a worker died in the middle of one, the model is told that its effect is
    unknown. With ``is_idempotent`` it is made again instead, under the same ``ToolContext.idempotency_key``.

    Example::

        @barnabas.tool(timeout_s=5)
        async def weather(city: str) -> dict[str, float]:
            "Today's temperature in a city, in degrees Celsius."
            return {"celsius": await thermometer.read(city)}

    Raises:
        SettingsError: The name is none that models take, or a parameter cannot be sent as JSON.
    """

    def make(function: Callable[..., Any]) -> Tool:
        called = name or function.__name__
        if not _NAME.fullmatch(called):
            raise SettingsError(f"tool {called!r}: a name has 1 to 64 letters, digits, '_' and '-'")
        if timeout_s <= 0:
            raise SettingsError(f"tool {called!r}: timeout_s is {timeout_s:g}; it is above 0")
        arguments, context_parameter = _arguments(called, function)
        spec = ToolSpec(
            name=called,
            description=description if description is not None else inspect.getdoc(function) or "",
            parameters=_schema(called, arguments),
        )
        return Tool(
            function=function,
            spec=spec,
            arguments=arguments,
            context_parameter=context_parameter,
            timeout_s=timeout_s,
            is_idempotent=is_idempotent,
        )

    return make if function is None else make(function)


def load_tool(path: str) -> Tool:
    """Return the tool at ``module:name``; a plain function becomes one with the defaults.

    Raises:
        SettingsError: There is no such module or name, or it is no tool.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise SettingsError(f"{path!r} is no tool; write module:function")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except ImportError as error:
        raise SettingsError(f"{path!r} cannot be imported: {error}") from error
    except AttributeError as error:
        raise SettingsError(f"{path!r}: {module_name} has no {attribute}") from error
    if isinstance(found, Tool):
        return found
    if not callable(found):
        raise SettingsError(f"{path!r} is a {type(found).__name__}, not a function or a tool")
    return tool(found)


def _arguments(name: str, function: Callable[..., Any]) -> tuple[type[msgspec.Struct], str | None]:
    """Make the struct of a function's parameters, and find the one that takes the context."""
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise SettingsError(f"tool {name!r}: an annotation cannot be resolved: {error}") from error
    required: list[Any] = []
    optional: list[Any] = []
    context_parameter = None
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if hint is ToolContext:
            context_parameter = parameter.name
        elif parameter.kind not in _KINDS:
            raise SettingsError(f"tool {name!r}: {parameter} cannot be filled from JSON; name each parameter")
        elif parameter.default is inspect.Parameter.empty:
            required.append((parameter.name, hint))
        else:
            optional.append((parameter.name, hint, parameter.default))
    try:
        made = msgspec.defstruct(name, [*required, *optional], kw_only=True, forbid_unknown_fields=True)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"tool {name!r}: {error}") from error
    return made, context_parameter


def _schema(name: str, arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of the arguments, its root in place: endpoints want an object there."""
    try:
        (root,), definitions = msgspec.json.schema_components([arguments], ref_template="#/$defs/{name}")
    except TypeError as error:
        raise SettingsError(f"tool {name!r}: a parameter cannot be sent as JSON: {error}") from error
    schema: dict[str, Any] = definitions.pop(root["$ref"].rpartition("/")[2])
    schema.pop("title", None)
    return {**schema, "$defs": definitions} if definitions else schema
