"""From a declaration to the SDK's tool object, and from a call to its handler and back to one answer."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import mcp_types as types
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from pydantic import TypeAdapter

from .. import schema
from ..results import Rendering, render
from ..server import Server
from ..tools import Cursor, Given, Tool, is_model
from . import AT_THE_HANDLER
from .call import Call, current_call
from .layers import compose
from .runtime import Runtime


class Arguments(FuncMetadata):
    """The SDK's argument metadata without its JSON guessing, which damages text such as `"[1]"`; see `arguments`."""

    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


def as_sdk_tool(tool: Tool, server: Server, runtime: Runtime) -> SdkTool:
    """The tool as the SDK registers it: portable schemas, explicit hints, and our wrapper as its function."""
    run = wrapper(tool, server, runtime)
    made = SdkTool.from_function(
        run,
        name=tool.name,
        title=tool.title,
        description=tool.description,
        annotations=hints_of(tool),
        meta=meta_of(tool),
        structured_output=False,
    )
    model = made.fn_metadata.arg_model
    model.model_config["extra"] = "forbid"
    model.model_rebuild(force=True)
    made.parameters = schema.portable(model.model_json_schema(by_alias=True))
    made.fn_metadata = Arguments(arg_model=model)
    if is_model(tool.returns):
        # The schema is published, the model is not set: the SDK would validate every answer a second time.
        made.fn_metadata.output_schema = schema.output(TypeAdapter(tool.returns).json_schema(mode="serialization"))
    return made


def hints_of(tool: Tool) -> types.ToolAnnotations:
    return types.ToolAnnotations(
        read_only_hint=tool.reads,
        destructive_hint=tool.destructive,
        idempotent_hint=tool.idempotent,
        open_world_hint=tool.open_world,
    )


def meta_of(tool: Tool) -> dict[str, Any] | None:
    return None


def wrapper(tool: Tool, server: Server, runtime: Runtime) -> Any:
    """What the SDK calls: the handler behind the layers that belong at the handler."""
    parameters = [
        each
        for each in inspect.signature(tool.handler, eval_str=True).parameters.values()
        if each.name not in tool.given
    ]

    @functools.wraps(tool.handler)
    async def run(**arguments: Any) -> types.CallToolResult:
        call = current_call()
        rendering = rendering_of(tool, call, runtime)
        opened = {key: open_cursor(value, tool, call, runtime) for key, value in arguments.items()}

        async def inner() -> types.CallToolResult:
            filled = await with_given(tool.given, server.backend, opened)
            return render(await tool.handler(**filled), rendering)

        return await compose(AT_THE_HANDLER, runtime, call, inner)()

    run.__signature__ = inspect.Signature(parameters, return_annotation=types.CallToolResult)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": types.CallToolResult}
    del run.__wrapped__  # type: ignore[attr-defined]
    return run


def open_cursor(value: Any, tool: Tool, call: Call, runtime: Runtime) -> Any:
    """A cursor argument as the position it seals, checked against this very call."""
    if not isinstance(value, Cursor):
        return value
    return Cursor(runtime.cursors.open(value.position, call.bound_to(leaving_out=tool.page_arguments)))


def rendering_of(tool: Tool, call: Call, runtime: Runtime) -> Rendering:
    asked = call.arguments.get("max_tokens")
    return Rendering(
        max_chars=call.budget(asked if isinstance(asked, int) else None),
        hard_chars=call.hard_chars,
        sign=lambda position: runtime.cursors.mint(position, call.bound_to(leaving_out=tool.page_arguments)),
        untrusted=tool.untrusted,
        source=call.targets[0] if len(call.targets) == 1 else None,
        redact=runtime.redact,
    )


async def with_given(given: Mapping[str, Given], backend: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` and what the server gives: its backend, or what a `Given` makes of it."""
    filled = dict(arguments)
    for name, marker in given.items():
        filled[name] = backend if marker.resolve is None else await marker.resolve(backend, arguments)
    return filled
