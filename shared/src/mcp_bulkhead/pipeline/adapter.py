"""The only file that knows the SDK's seams: an `MCPServer` subclass and two middlewares.

`Server.middleware` is provisional in the SDK and sees raw params and finished wire results: good for the record of
every call, useless for policy on results. The public `call_tool`, `read_resource` and `get_prompt` see the original
exception and the result object: there the call's layers run. Listings and completion have no such hook, so their layers
run in an inner middleware. Whatever the SDK would say to a client about a failure, we say instead.
"""

import inspect
import logging
import re
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final, cast

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.caching import CacheHint
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt as SdkPrompt
from mcp.server.mcpserver.prompts.base import PromptArgument
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged
from mcp.shared.uri_template import UriTemplate
from pydantic import AnyUrl, ValidationError

from ..arguments import explained, understood
from ..errors import Busy, Crashed, Failure, Invalid, Missing, OutsideRoot, TooLarge
from ..guards.text import SUSPECT, clean, is_plain
from ..resources import Contents, Listed, Prompt, Resource
from ..results import PROVENANCE_META, Rendering, as_block, error_object, render_failure
from ..server import Server
from ..telemetry.logs import bound
from ..tools import Tool
from . import AT_THE_CALL, AT_THE_HANDLER, AT_THE_WIRE
from .call import CHARS_PER_TOKEN, Call, current_call_or_none, entered
from .identity import caller_of
from .invoke import as_sdk_tool, with_given
from .layers import Layer, compose, turned_away
from .runtime import Runtime

log = logging.getLogger("mcp_bulkhead")

MAX_FIELD: Final = 128
MAX_NAME: Final = 4_200
MAX_ARGUMENTS: Final = 100
MAX_ITEMS: Final = 10_000
MAX_STREAMS: Final = 256
LARGE: Final = 100_000
"""Texts from here on are tidied in a thread."""

TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
FAILURE: Final = -31_000
"""Our JSON-RPC code for a failure that is no protocol fault: outside the range JSON-RPC and MCP reserve."""

COUNTED: Final = frozenset(
    {
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
        "completion/complete",
        "subscriptions/listen",
    }
)
MAX_RESOURCE_BYTES: Final = 5_000_000
"""Some clients stop reading a message of 10 MiB, and bytes grow by a third on the way."""

SWITCH_EVERY_S: Final = 0.4
LIST_TTL_MS: Final = 60_000


class BulkheadServer(MCPServer[Any]):
    """A `Server` on the SDK, with the pipeline around every call."""

    def __init__(self, server: Server, runtime: Runtime, *, title: str, instructions: str) -> None:
        self.declared: Mapping[str, Tool] = {tool.name: tool for tool in server.tools}
        self.described = server
        self.runtime = runtime
        self.templates = [(UriTemplate.parse(each.template), each) for each in server.resources]
        self.legacy_sessions: dict[int, Any] = {}
        self.flooded, self.flood_told = 0, 0.0
        runtime.scope_off = self.scope_is_off
        runtime.switch.knows(server.names)
        super().__init__(
            name=f"bulkhead-{runtime.server}",
            title=title,
            version=runtime.version,
            instructions=instructions,
            tools=[as_sdk_tool(tool, server, runtime) for tool in server.tools],
            lifespan=self.alive,
            cache_hints={
                "tools/list": CacheHint(ttl_ms=LIST_TTL_MS),
                "prompts/list": CacheHint(ttl_ms=LIST_TTL_MS),
                "resources/templates/list": CacheHint(ttl_ms=LIST_TTL_MS),
                "resources/list": CacheHint(),
                "resources/read": CacheHint(),
                "server/discover": CacheHint(ttl_ms=LIST_TTL_MS),
            },
            middleware=[self.around_listings],
        )
        self.middleware.insert(0, self.around_the_wire)
        for prompt in server.prompts:
            self.add_prompt(self.as_sdk_prompt(prompt))
        if any(each.complete for each in (*server.resources, *server.prompts)):
            self.completion()(self.complete)
        offered = self._lowlevel_server.get_capabilities
        self._lowlevel_server.get_capabilities = lambda *given, **more: truthful(offered(*given, **more))  # type: ignore[method-assign]

    @property
    def lowlevel(self) -> Any:
        """The SDK's protocol server under this one, for a transport of our own."""
        return self._lowlevel_server

    @property
    def listening(self) -> Any:
        """The SDK's handler of open subscriptions."""
        entry = self._lowlevel_server.get_request_handler("subscriptions/listen")
        assert entry is not None
        return entry.handler

    # -- life -----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def alive(self, _: MCPServer[Any]) -> AsyncGenerator[Any]:
        """While a client may call: the backend is open and the kill switch is watched."""
        self.runtime.switch.look()
        async with self.described.backend as backend, anyio.create_task_group() as tasks:
            tasks.start_soon(self.watch_switch)
            yield {"backend": backend}
            tasks.cancel_scope.cancel()

    async def watch_switch(self) -> None:
        while True:
            await anyio.sleep(SWITCH_EVERY_S)
            if self.runtime.switch.look():
                await self.obey_switch()

    def scope_is_off(self, scope: str | None) -> bool:
        """What mirrors tools (a resource, a prompt, completion) is off when all tools of its scope are."""
        of_scope = [name for name, tool in self.declared.items() if tool.scope == scope]
        return bool(of_scope) and all(self.runtime.switch.is_off(name) for name in of_scope)

    async def obey_switch(self) -> None:
        """Stop what is in flight, tell every client that the list changed, and write it down."""
        off = self.runtime.switch.off
        for call in list(self.runtime.in_flight):
            mirrored = call.tool is None and self.scope_is_off(call.scope)
            if call.cancel is not None and (mirrored or self.runtime.switch.is_off(call.switch)):
                call.switched_off = True
                call.cancel.cancel()
        if self.runtime.audit is not None:
            self.runtime.audit.append({"phase": "switch", "server": self.runtime.server, "off": sorted(off)})
        log.warning("kill switch: now off: %s", ", ".join(sorted(off)) or "nothing")
        await self._subscriptions.publish(ToolsListChanged())
        if self.runtime.switch.is_off(None):
            self.listening.close()
        for session in list(self.legacy_sessions.values()):
            with anyio.move_on_after(1):
                await session.send_tool_list_changed()

    # -- at the wire ----------------------------------------------------------------------------------------------

    async def around_the_wire(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """One record and one measurement for every request that reaches the server, whatever becomes of it."""
        if ctx.request_id is None:
            return await call_next(ctx)
        call = self.call_of(ctx)
        if self.runtime.limits.floods(call):
            self.count_flood()
            raise MCPError(FAILURE, "Far too many requests. Wait a minute.")

        async def inner() -> HandlerResult:
            try:
                result = await call_next(ctx)
            except MCPError as error:
                if error.error.code == types.METHOD_NOT_FOUND:
                    call.fail(Invalid("unknown method", code="unknown_method"))
                    raise MCPError(types.METHOD_NOT_FOUND, "Method not found") from error  # the SDK repeats its name
                if call.failure is None:
                    call.fail(Invalid(error.error.message, code=f"jsonrpc{error.error.code}"))
                raise
            except ValidationError as error:
                call.fail(Invalid("malformed request", code="malformed_request"))
                raise MCPError(types.INVALID_PARAMS, "Invalid request parameters") from error
            except Exception as error:
                log.exception("%s crashed", call.method)
                call.fail(Crashed("crashed"))
                raise MCPError(types.INTERNAL_ERROR, "Internal error") from error
            if ctx.method == "initialize" and id(ctx.session) not in self.legacy_sessions:
                self.remember_session(ctx)
            return result

        with entered(call), bound(request_id=call.request_id, trace_id=call.trace_id):
            return cast("HandlerResult", await compose(AT_THE_WIRE, self.runtime, call, inner)())

    def count_flood(self) -> None:
        """A flood is one line a second in the record, with its count: or it would fill the disk."""
        self.flooded += 1
        now = time.monotonic()
        if now - self.flood_told >= 1:
            turned_away(self.runtime, f"flood of {self.flooded}")
            self.flooded, self.flood_told = 0, now

    def call_of(self, ctx: ServerRequestContext[Any, Any]) -> Call:
        params = ctx.params or {}
        name = params.get("name", params.get("uri"))
        trace = TRACE.fullmatch(str((ctx.meta or {}).get("traceparent", ""))[:MAX_FIELD])
        return Call(
            method=ctx.method[:MAX_FIELD],
            name=name[:MAX_NAME] if isinstance(name, str) else None,
            arguments=arguments_of(ctx.method, params),
            caller=caller_of(ctx, self.runtime),
            protocol=ctx.protocol_version,
            transport=self.runtime.transport,
            request_id=ctx.request_id if isinstance(ctx.request_id, int) else str(ctx.request_id)[:MAX_FIELD],
            trace_id=trace[1] if trace else None,
            span_id=trace[2] if trace else None,
            report=ctx.session.report_progress,
            leg=2 if params.get("inputResponses") else 1,
            usual_chars=self.runtime.settings.max_result_tokens * CHARS_PER_TOKEN,
            hard_chars=self.runtime.settings.hard_result_tokens * CHARS_PER_TOKEN,
        )

    def remember_session(self, ctx: ServerRequestContext[Any, Any]) -> None:
        """Legacy clients learn of changes by notification only, so their sessions are kept while they live."""
        self.legacy_sessions[id(ctx.session)] = ctx.session
        while len(self.legacy_sessions) > 1_000:  # noqa: PLR2004 - the SDK's own cap on sessions is of this order
            self.legacy_sessions.pop(next(iter(self.legacy_sessions)))

    async def around_listings(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """The call's layers for the methods that have no public hook; here we stand inside the SDK's span."""
        call = current_call_or_none()
        if call is not None and self.runtime.trace_of is not None:
            call.trace_id = self.runtime.trace_of() or call.trace_id
        if call is None or ctx.method not in COUNTED:
            return await call_next(ctx)
        layers = AT_THE_CALL
        if ctx.method == "completion/complete":
            call.targets = completed_place(ctx.params or {})
            call.scope = self.scope_of_completion(ctx.params or {})
            layers = AT_THE_CALL + AT_THE_HANDLER
        stream = ctx.method == "subscriptions/listen"
        self.runtime.streams += stream
        try:
            return cast(
                "HandlerResult", await self.through(layers, call, lambda: self.admitted(stream, call_next, ctx))
            )
        finally:
            self.runtime.streams -= stream

    async def admitted(self, stream: bool, call_next: CallNext, ctx: ServerRequestContext[Any, Any]) -> HandlerResult:
        """A subscription holds a socket for as long as its client likes: there are only so many."""
        if stream and self.runtime.streams > MAX_STREAMS:
            raise Busy("Too many subscriptions are open.", hint="Close one before you open another.", retry_after_s=5)
        return await call_next(ctx)

    async def through(self, layers: tuple[Layer, ...], call: Call, inner: Any) -> Any:
        """Run `inner` behind `layers`; a failure becomes a protocol error with the same object as its data."""
        try:
            return await compose(layers, self.runtime, call, inner)()
        except MCPError:
            raise
        except Failure as error:
            failure, cause = error, error
        except Exception as error:
            failure, cause = self.crashed(call, error), error
        call.fail(failure)
        code = types.INVALID_PARAMS if isinstance(failure, Invalid | Missing | OutsideRoot) else FAILURE
        data: dict[str, Any] = {"error": error_object(failure, self.runtime.redact)}
        if call.method == "resources/read" and call.name is not None:
            data["uri"] = clean(call.name).text
        raise MCPError(code, data["error"]["message"], data) from cause

    # -- tools ----------------------------------------------------------------------------------------------------

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        call, tool = current_call_or_none(), self.declared.get(name)
        if call is None or call.entered:
            raise RuntimeError("a tool is called through the pipeline, once per call")
        if tool is None:
            raise MCPError(types.INVALID_PARAMS, "Unknown tool. tools/list names the tools of this server.")
        call.entered, call.tool, call.scope, call.personal = True, tool, tool.scope, tool.personal
        call.switch = name
        registered = cast("Any", self._tool_manager.get_tool(name))
        excess = too_many(arguments, registered.parameters)
        if excess is not None:
            call.valid_arguments = False
            return self.failed(call, excess)
        call.arguments = given = understood(arguments, registered.parameters)
        call.targets = tool.targets_of(given)

        async def inner() -> types.CallToolResult | types.InputRequiredResult:
            return await self.invoke(call, name, given, context)

        try:
            return await compose(AT_THE_CALL, self.runtime, call, inner)()
        except Failure as failure:
            return self.failed(call, failure)

    async def invoke(
        self, call: Call, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None
    ) -> types.CallToolResult | types.InputRequiredResult:
        """The SDK's own way to the handler; what it wraps is unwrapped again."""
        try:
            result = await super().call_tool(name, arguments, context)
        except ToolError as wrapped:
            raise self.unwrapped(call, wrapped.__cause__ or wrapped) from wrapped
        call.valid_arguments = True
        if isinstance(result, types.CallToolResult):
            text = first_text(result)
            call.bytes_out = size_of(result)
            self.stop_repeats(call, text)
        return result

    def unwrapped(self, call: Call, cause: BaseException) -> Failure:
        if isinstance(cause, ValidationError):
            call.valid_arguments = False
            return explained(cause)
        if isinstance(cause, Failure):
            return cause
        return self.crashed(call, cause)

    def crashed(self, call: Call, cause: BaseException) -> Crashed:
        reference = token_hex(4)
        log.error(
            "%s failed unexpectedly [%s]", call.tool.name if call.tool else call.method, reference, exc_info=cause
        )
        return Crashed(
            f"Something went wrong on our side (reference {reference}).",
            hint="Do not repeat the call; try another way, and tell the user the reference: the log has the cause.",
        )

    def failed(self, call: Call, failure: Failure) -> types.CallToolResult:
        call.fail(failure)
        result = render_failure(failure, self.runtime.redact)
        call.bytes_out = len(first_text(result))
        return result

    def stop_repeats(self, call: Call, answer: str) -> None:
        if call.tool is not None and call.tool.reads:
            self.runtime.limits.repeated(call, repr(sorted(call.arguments.items(), key=lambda item: item[0])), answer)
        else:
            self.runtime.limits.forget_reads(call)

    async def list_tools(self) -> list[types.Tool]:
        """The tools this caller may use now, in their declared order; it depends on scopes, never on the session."""
        call, listed = current_call_or_none(), await super().list_tools()
        return [
            tool
            for tool in listed
            if not self.runtime.switch.is_off(tool.name)
            and (call is None or call.caller.may(self.declared[tool.name].scope))
        ]

    # -- resources ------------------------------------------------------------------------------------------------

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | types.InputRequiredResult:
        call = current_call_or_none()
        if call is None or call.entered:
            raise RuntimeError("a resource is read through the pipeline, once per call")
        call.entered = True
        address = str(uri)
        call.targets = (address,)
        found = next(((each, match) for each, match in self.matching(address)), None)

        async def inner() -> list[ReadResourceContents]:
            if found is None:
                raise Missing("There is no such resource.", hint="resources/templates/list shows the forms that exist.")
            each, variables = found
            call.switch = each.name
            self.runtime.switch.check(each.name)
            return [await compose(AT_THE_HANDLER, self.runtime, call, lambda: self.read_one(call, each, variables))()]

        call.scope = found[0].scope if found else None
        return cast("list[ReadResourceContents]", await self.through(AT_THE_CALL, call, inner))

    def matching(self, uri: str) -> Iterable[tuple[Resource, dict[str, Any]]]:
        for template, each in self.templates:
            variables = template.match(uri)
            if variables is not None:
                yield each, dict(variables)

    async def contents_of(self, each: Resource, variables: Mapping[str, Any]) -> Contents:
        flat: dict[str, str] = {
            key: "/".join(cast("list[str]", value)) if isinstance(value, list) else value
            for key, value in variables.items()
        }
        return await each.handler(**await with_given(each.given, self.described.backend, flat))

    async def read_one(self, call: Call, each: Resource, variables: Mapping[str, Any]) -> ReadResourceContents:
        """Read and tidy within the deadline; a large text is tidied in a thread, or every other caller would wait."""
        contents = await self.contents_of(each, variables)
        if len(contents.body) < LARGE:
            read = self.as_read(call, each, contents)
        else:
            read = await anyio.to_thread.run_sync(self.as_read, call, each, contents, abandon_on_cancel=True)
        self.runtime.limits.repeated(call, str(call.name), str(read.content))
        return read

    def as_read(self, call: Call, each: Resource, contents: Contents) -> ReadResourceContents:
        meta = dict(contents.meta or {})
        body, escaped = contents.body, dict[str, int]()
        if isinstance(body, str):
            # What is written out takes at least five characters for one: known to be too much before it is done.
            fits(len(body) + (0 if is_plain(body) else 4 * len(SUSPECT.findall(body))))
            cleaned = clean(body)
            body, escaped = cleaned.text, cleaned.escaped
            if self.runtime.redact:
                body = self.runtime.redact(body)
        if each.untrusted:
            meta[PROVENANCE_META] = {"untrusted": True, "escaped": escaped}
        call.bytes_out = len(body.encode("utf-8", "replace")) if isinstance(body, str) else len(body)
        fits(call.bytes_out)
        return ReadResourceContents(content=body, mime_type=clean(contents.mime).text, meta=meta or None)

    async def list_resources(self) -> list[types.Resource]:
        call = current_call_or_none()
        listed: list[types.Resource] = []
        for template, each in self.templates:
            if call is not None and not call.caller.may(each.scope):
                continue
            if each.listing is not None:
                listed.extend(as_listed(item) for item in await self.listing_of(each))
            elif not template.variables:
                listed.append(as_listed(Listed(each.template, each.name, mime=each.mime, description=each.description)))
        return listed

    async def listing_of(self, each: Resource) -> Sequence[Listed]:
        call = current_call_or_none()
        listing = each.listing
        assert listing is not None
        if call is None:
            return await listing(self.described.backend)
        return cast(
            "Sequence[Listed]",
            await compose(AT_THE_HANDLER, self.runtime, call, lambda: listing(self.described.backend))(),
        )

    async def list_resource_templates(self) -> list[types.ResourceTemplate]:
        call = current_call_or_none()
        return [
            types.ResourceTemplate(
                uri_template=each.template,
                name=each.name,
                title=each.title,
                description=each.description,
                mime_type=each.mime,
            )
            for template, each in self.templates
            if template.variables and (call is None or call.caller.may(each.scope))
        ]

    # -- prompts and completion -----------------------------------------------------------------------------------

    def as_sdk_prompt(self, prompt: Prompt) -> SdkPrompt:
        return SdkPrompt(
            name=prompt.name,
            title=prompt.title,
            description=prompt.description,
            arguments=[
                PromptArgument(name=key, description=said, required=required)
                for key, (said, required) in prompt.arguments.items()
            ],
            fn=listed_only,
            context_kwarg=None,
        )

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> types.GetPromptResult | types.InputRequiredResult:
        call = current_call_or_none()
        prompt = next((each for each in self.described.prompts if each.name == name), None)
        if prompt is None or call is None:
            raise MCPError(types.INVALID_PARAMS, "Unknown prompt. prompts/list names the prompts of this server.")
        chosen, call.scope, call.switch = prompt, prompt.scope, prompt.name
        call.targets = tuple(str(value)[:MAX_NAME] for value in (arguments or {}).values())

        async def inner() -> types.GetPromptResult:
            filled = prompt_arguments(chosen, arguments or {})
            body = await chosen.handler(**await with_given(chosen.given, self.described.backend, filled))
            parts = [body] if isinstance(body, str) else body
            rendering = Rendering(
                call.usual_chars,
                call.hard_chars,
                sign=unsigned,
                redact=self.runtime.redact,
                untrusted=chosen.untrusted,
            )
            messages = [types.PromptMessage(role="user", content=as_block(part, rendering)) for part in parts]
            call.bytes_out = sum(len(message.content.model_dump_json()) for message in messages)
            told = rendering.meta()
            return types.GetPromptResult(description=chosen.description, messages=messages, _meta=told)

        return cast("types.GetPromptResult", await self.through(AT_THE_CALL + AT_THE_HANDLER, call, inner))

    async def complete(
        self,
        ref: types.PromptReference | types.ResourceTemplateReference,
        argument: types.CompletionArgument,
        context: types.CompletionContext | None,
    ) -> types.Completion | None:
        completer = self.completer_for(ref, argument.name)
        if completer is None:
            return None
        try:
            values = list(await completer(self.described.backend, argument.value))
        except Failure as failure:
            call = current_call_or_none()
            if call is not None:
                call.fail(failure)
            return types.Completion(values=[])
        shown = [clean(value).text for value in values[:100]]
        return types.Completion(values=shown, has_more=len(values) > len(shown))

    def completer_for(self, ref: types.PromptReference | types.ResourceTemplateReference, argument: str) -> Any:
        if isinstance(ref, types.PromptReference):
            return next((each.complete.get(argument) for each in self.described.prompts if each.name == ref.name), None)
        return next(
            (each.complete.get(argument) for each in self.described.resources if each.template == ref.uri), None
        )

    def scope_of_completion(self, params: Mapping[str, Any]) -> str | None:
        """Completing a place is reading it: the scope is that of what the completed argument belongs to."""
        ref = params.get("ref")
        told: Mapping[str, Any] = cast("Mapping[str, Any]", ref) if isinstance(ref, Mapping) else {}
        for prompt in self.described.prompts:
            if told.get("type") == "ref/prompt" and told.get("name") == prompt.name:
                return prompt.scope
        for each in self.described.resources:
            if told.get("type") == "ref/resource" and told.get("uri") == each.template:
                return each.scope
        return None

    async def list_prompts(self) -> list[types.Prompt]:
        call, listed = current_call_or_none(), await super().list_prompts()
        scopes = {prompt.name: prompt.scope for prompt in self.described.prompts}
        return [prompt for prompt in listed if call is None or call.caller.may(scopes.get(prompt.name))]


def truthful(offered: types.ServerCapabilities) -> types.ServerCapabilities:
    """Of all lists only that of the tools ever changes, by the kill switch. The SDK would promise what it can carry."""
    if offered.tools is not None:
        offered.tools.list_changed = True
    if offered.prompts is not None:
        offered.prompts.list_changed = False
    if offered.resources is not None:
        offered.resources.list_changed = offered.resources.subscribe = False
    return offered


def unsigned(_: Any) -> str:
    raise TypeError("a prompt has no continuation")


def listed_only() -> str:
    """What the SDK would call for a prompt: it only lists ours, `get_prompt` renders them."""
    raise RuntimeError("prompts are rendered by get_prompt")


def arguments_of(method: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the caller sent, where each method keeps it: for the digest in the record."""
    if method == "completion/complete":
        return {"ref": params.get("ref"), "argument": params.get("argument")}
    if method == "resources/read":
        return {"uri": params.get("uri")}
    sent = params.get("arguments")
    return cast("Mapping[str, Any]", sent) if isinstance(sent, Mapping) else {}


def completed_place(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What a completion asks about: the beginning that was typed."""
    argument = params.get("argument")
    typed = cast("Mapping[str, Any]", argument).get("value") if isinstance(argument, Mapping) else None
    return (typed[:MAX_NAME],) if isinstance(typed, str) else ()


def too_many(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> Invalid | None:
    """Sizes are judged before anything is done with each part: a frame holds hundreds of thousands of them."""
    declared = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    if len(arguments) > MAX_ARGUMENTS:
        return Invalid(f"A call has at most {MAX_ARGUMENTS} arguments.", hint="Send only what the tool's schema names.")
    for name, value in arguments.items():
        most = declared.get(name, {}).get("maxItems", MAX_ITEMS)
        if isinstance(value, list | dict) and len(cast("list[Any]", value)) > most and name in declared:
            return Invalid(
                f"{name}: may have at most {most} items.",
                field=name,
                problem=f"may have at most {most} items",
                hint="Split the call.",
            )
    return None


def fits(size: int) -> None:
    if size > MAX_RESOURCE_BYTES:
        raise TooLarge(
            "The resource is larger than clients read in one answer.",
            hint="Read it in parts with the tool that reads such resources.",
            details={"size": size, "limit": MAX_RESOURCE_BYTES},
        )


def size_of(result: types.CallToolResult) -> int:
    """What leaves for this answer: media and embedded bytes count like text."""
    total = 0
    for block in result.content:
        if isinstance(block, types.TextContent):
            total += len(block.text.encode("utf-8", "replace"))
        elif isinstance(block, types.ImageContent | types.AudioContent):
            total += len(block.data)
        else:
            total += len(block.model_dump_json(by_alias=True, exclude_none=True))
    return total


def first_text(result: types.CallToolResult) -> str:
    first = result.content[0] if result.content else None
    return first.text if isinstance(first, types.TextContent) else ""


def as_listed(item: Listed) -> types.Resource:
    return types.Resource(
        uri=clean(item.uri).text,
        name=clean(item.name).text,
        description=item.description,
        mime_type=item.mime,
        size=item.size,
        annotations=types.Annotations(last_modified=item.modified) if item.modified else None,
    )


def prompt_arguments(prompt: Prompt, sent: Mapping[str, Any]) -> dict[str, str]:
    missing = [key for key, (_, required) in prompt.arguments.items() if required and not sent.get(key)]
    if missing:
        raise Invalid(
            f"{missing[0]}: is required.", field=missing[0], problem="is required", hint="Fill it and ask again."
        )
    unknown = [key for key in sent if key not in prompt.arguments]
    if unknown:
        raise Invalid("There is an argument this prompt does not take.", hint="prompts/list names its arguments.")
    defaults = inspect.signature(prompt.handler).parameters
    return {key: str(sent[key]) if sent.get(key) else str(defaults[key].default) for key in prompt.arguments}
