"""Our server with a few calls more than a declaration can make, behind the same pipeline and the same HTTP door."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts import Prompt

from mcp_bulkhead.app import audit_of, runtime_of
from mcp_bulkhead.pipeline import AT_THE_CALL, AT_THE_HANDLER
from mcp_bulkhead.pipeline.adapter import BulkheadServer
from mcp_bulkhead.pipeline.call import current_call
from mcp_bulkhead.pipeline.layers import compose
from mcp_bulkhead.pipeline.runtime import Runtime
from mcp_bulkhead.server import Server
from mcp_bulkhead.settings import ServerSettings, parse
from mcp_bulkhead.spec import ServerSpec
from mcp_bulkhead.telemetry.logs import configure
from mcp_bulkhead.transport.http import serve_http

from .questions import QUESTIONS
from .rounds import ASKING_PROMPT, ROUNDS, Round, asking_prompt
from .tools.content import test_header_routing, test_simple_text

MIRRORED = "x-mcp-header"
"""A keyword that portable schemas do not have: some model APIs refuse a schema for one word they do not know."""


class Everything(BulkheadServer):
    """Tools and a prompt that ask back: the SDK runs them, our layers stand around them."""

    def __init__(self, server: Server, runtime: Runtime, *, title: str, instructions: str) -> None:
        super().__init__(server, runtime, title=title, instructions=instructions)
        asking = {**ROUNDS, **QUESTIONS}
        self.declared = {**self.declared, **{name: replace(test_simple_text, name=name) for name in asking}}
        for name, round_ in asking.items():
            description = "Use this to see a question to the client."
            self.add_tool(self.at_the_handler(round_), name=name, description=description, structured_output=False)
        registered: Any = self._tool_manager.get_tool(test_header_routing.name)
        registered.parameters["properties"]["region"][MIRRORED] = "Region"
        self.add_prompt(
            Prompt(
                name=ASKING_PROMPT,
                title="A prompt that asks back",
                description="Asks for its context.",
                arguments=[],
                fn=asking_prompt,
                context_kwarg="context",
            )
        )

    def at_the_handler(self, round_: Round) -> Round:
        async def run(context: Context[Any, Any]) -> types.CallToolResult | types.InputRequiredResult:
            return await compose(AT_THE_HANDLER, self.runtime, current_call(), lambda: round_(context))()

        return run

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> types.GetPromptResult | types.InputRequiredResult:
        if name != ASKING_PROMPT or context is None:
            return await super().get_prompt(name, arguments, context)
        ask = partial(MCPServer.get_prompt, self, name, arguments, context)
        return await self.through(AT_THE_CALL + AT_THE_HANDLER, current_call(), ask)


def host(spec: ServerSpec, argv: Sequence[str]) -> int:
    """What `mcp_bulkhead.app.serve` does over HTTP, with `Everything` in the place of its server."""
    settings = parse(
        spec.settings(), server=spec.name, version=spec.version, description=spec.summary, argv=argv
    ).settings
    assert isinstance(settings, ServerSettings)
    configure(settings.log_level, spec.name)
    audit = audit_of(spec, settings)
    if audit is not None:
        audit.reserve()
        audit.start()
    described = spec.build(settings)
    runtime = runtime_of(spec, settings, transport="tcp", audit=audit, redactor=None)
    server = Everything(described, runtime, title=spec.title, instructions=described.instructions)
    try:
        anyio.run(serve_http, server)
    finally:
        if audit is not None:
            audit.close()
    return 0
