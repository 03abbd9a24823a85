"""Who calls: always from the connection, never from an argument."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from .call import Caller

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from .runtime import Runtime

CALLER_KEY = "mcp_bulkhead.caller"
"""Where the HTTP door leaves the caller it let in, in the ASGI scope."""

CLIENT_INFO = "io.modelcontextprotocol/clientInfo"
MAX_AGENT = 100


def caller_of(ctx: "ServerRequestContext[Any, Any]", runtime: "Runtime") -> Caller:
    """The caller of one request: the local user over stdio, whoever the door let in over HTTP."""
    agent, agent_version = agent_of(ctx)
    scope = getattr(ctx.request, "scope", None)
    known = cast("Mapping[str, Any]", scope).get(CALLER_KEY) if isinstance(scope, Mapping) else None
    headers = getattr(ctx.request, "headers", None)
    scopes = runtime.settings.scopes
    return Caller(
        id=str(known) if known else "local",
        tenant=runtime.settings.tenant,
        agent=agent,
        agent_version=agent_version,
        session=headers.get("mcp-session-id") if headers is not None and sessions_exist(ctx) else None,
        scopes=None if scopes is None else frozenset(scopes),
    )


def sessions_exist(ctx: "ServerRequestContext[Any, Any]") -> bool:
    """Only the legacy era has sessions, which the SDK checks; in the modern one the header is anybody's invention."""
    return ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS


def agent_of(ctx: "ServerRequestContext[Any, Any]") -> tuple[str | None, str | None]:
    """The client program's own word for itself: for the record, never for a decision."""
    params = ctx.session.client_params
    if params is not None:
        return cut(params.client_info.name), cut(params.client_info.version)
    info = (ctx.meta or {}).get(CLIENT_INFO)
    if isinstance(info, Mapping):
        told = cast("Mapping[str, Any]", info)
        return cut(told.get("name")), cut(told.get("version"))
    return None, None


def cut(value: Any) -> str | None:
    return value[:MAX_AGENT] if isinstance(value, str) else None
