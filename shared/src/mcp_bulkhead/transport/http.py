"""The door in front of streamable HTTP: who may come in, how large a request may be, and how the server is."""

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..errors import Failure, Invalid
from ..pipeline.identity import CALLER_KEY
from ..pipeline.layers import turned_away
from ..settings import ServerSettings, secret_value

if TYPE_CHECKING:
    from ..pipeline.adapter import BulkheadServer

log = logging.getLogger("mcp_bulkhead")
OPEN_TO_ALL: Final = ("/healthz", "/readyz")
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
HEALTH_S: Final = 5.0
TURNED_AWAY: Final[Mapping[int, str]] = {403: "origin", 413: "request_too_large", 421: "host"}
GRACE_S: Final = 0.3
"""What calls in flight get at the end: two such waits and a flush fit into the two seconds of the whole."""
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class QuietServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: the process has one place that decides when to stop."""

    def capture_signals(self) -> Any:
        return nullcontext()


class Door:
    """Lets in callers with the right bearer key; the refused are told how to knock, and written down."""

    def __init__(self, app: App, server: "BulkheadServer", settings: ServerSettings) -> None:
        self.app, self.server, self.settings = app, server, settings

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_TO_ALL:
            await self.app(scope, receive, send)
            return
        key = secret_value(self.settings.http_token)
        if key is not None:
            if not presents(scope, key):
                self.write_down(scope, "authentication")
                await unauthorized()(scope, receive, send)
                return
            scope[CALLER_KEY] = "bearer"
        await self.app(scope, receive, self.watching(scope, send))

    def watching(self, scope: Scope, send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """What the SDK turns away never reaches the pipeline; its status tells."""

        async def watched(message: Any) -> None:
            rule = TURNED_AWAY.get(message["status"]) if message["type"] == "http.response.start" else None
            if rule is not None:
                self.write_down(scope, rule)
            await send(message)

        return watched

    def write_down(self, scope: Scope, rule: str) -> None:
        client = scope.get("client")
        turned_away(self.server.runtime, rule, targets=[f"client:{client[0]}"] if client else [])


def presents(scope: Scope, key: str) -> bool:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, token = value.partition(b" ")
            return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), key.encode())
    return False


def unauthorized() -> Response:
    return JSONResponse(
        {"error": "invalid_token", "error_description": "Send the server's key as `Authorization: Bearer ...`."},
        status_code=401,
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


def safe_to_bind(settings: ServerSettings, host: str) -> None:
    """A port that others can reach needs a key and the names it answers to; otherwise any web page could call it."""
    if host in LOOPBACK:
        return
    lacking = [
        fix
        for missing, fix in (
            (not settings.allowed_hosts, "--allowed-hosts NAME:PORT (the Host header clients will send)"),
            (
                settings.http_token is None,
                "MCP_BULKHEAD_..._HTTP_TOKEN or _HTTP_TOKEN_FILE (the key callers must present)",
            ),
        )
        if missing
    ]
    if lacking:
        raise Invalid(
            f"Binding to {host} opens the server to other machines.",
            field="http",
            hint="Add " + " and ".join(lacking) + ", or bind to 127.0.0.1.",
        )


def security_of(settings: ServerSettings, host: str) -> TransportSecuritySettings:
    """Host and Origin are always checked; loopback names are always right on a loopback bind."""
    hosts, origins = list(settings.allowed_hosts), list(settings.allowed_origins)
    if host in LOOPBACK:
        hosts += ["127.0.0.1:*", "localhost:*", "[::1]:*"]
        origins += ["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins)


def asgi_app(server: "BulkheadServer", telemetry: Any = None) -> App:
    """The whole HTTP side: `/mcp` behind the door, health beside it."""
    settings = server.runtime.settings
    host = (settings.http_address or ("127.0.0.1", 0))[0]
    app = server.streamable_http_app(
        host=host,
        max_request_body_size=settings.max_request_bytes,
        transport_security=security_of(settings, host),
    )
    app.router.routes.extend(health_routes(server, telemetry))
    return Door(app, server, settings)


def health_routes(server: "BulkheadServer", telemetry: Any) -> list[Route]:
    async def healthz(_: Request) -> Response:
        """Asks the system behind: a server that cannot reach it is not healthy. Tells anybody no more than that."""
        try:
            with anyio.fail_after(HEALTH_S):
                await server.described.backend.check()  # type: ignore[attr-defined]
        except TimeoutError:
            return JSONResponse({"status": "down", "code": "timeout"}, status_code=503)
        except Failure as failure:
            return JSONResponse({"status": "down", "code": failure.reason}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        return JSONResponse({"status": "ready"})

    async def metrics(_: Request) -> Response:
        return Response(telemetry.render(), media_type="text/plain; version=0.0.4")

    routes = [Route("/healthz", healthz), Route("/readyz", readyz)]
    if server.runtime.settings.metrics and telemetry is not None:
        routes.append(Route("/metrics", metrics))
    return routes


async def serve_http(server: "BulkheadServer", telemetry: Any = None) -> None:
    """Serve until a signal; the first line on stderr says where."""
    from ..app import stop_on_signals

    settings = server.runtime.settings
    assert settings.http_address is not None
    host, port = settings.http_address
    safe_to_bind(settings, host)
    config = uvicorn.Config(
        asgi_app(server, telemetry),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,  # type: ignore[arg-type] - it goes to wait_for, which takes fractions
        server_header=False,
    )
    quiet = QuietServer(config)
    async with anyio.create_task_group() as tasks:
        stop_on_signals(lambda: stop(quiet))
        tasks.start_soon(announce, quiet, host)
        await quiet.serve()
        tasks.cancel_scope.cancel()


def stop(quiet: QuietServer) -> None:
    quiet.force_exit = quiet.should_exit
    quiet.should_exit = True


async def announce(quiet: QuietServer, host: str) -> None:
    while not quiet.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await anyio.sleep(0.01)
    port = quiet.servers[0].sockets[0].getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    log.warning("serving on http://%s:%s/mcp", shown, port)
