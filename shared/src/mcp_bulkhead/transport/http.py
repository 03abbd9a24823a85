"""The door in front of streamable HTTP: who may come in, how large a request may be, and how the server is."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import mcp_types as types
import uvicorn
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

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
TURNED_AWAY: Final[Mapping[int, str]] = {
    401: "authentication",
    403: "origin",
    413: "request_too_large",
    421: "host",
    503: "http_503",
}
REACHED: Final = "mcp_bulkhead.reached"
"""Where the ASGI scope keeps the methods the pipeline has seen: those have a record already."""

FIXED: Final[Mapping[int, str]] = {
    types.PARSE_ERROR: "Parse error",
    types.INVALID_PARAMS: "Validation error: the body is not a JSON-RPC message",
}
HEAD_S: Final = 10.0
BODY_S: Final = 60.0
KEEP_ALIVE_S: Final = 5
BACKLOG: Final = 64
OWING: Final = 256
"""Connections that owe us the rest of a request; twice as many may be at work."""

SAME_LINE_S: Final = 10.0
GRACE_S: Final = 0.3
"""What calls in flight get at the end: two such waits and a flush fit into the two seconds of the whole."""
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


class QuietServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: the process has one place that decides when to stop."""

    def capture_signals(self) -> Any:
        return nullcontext()


class HungUp(Exception):  # noqa: N818 - a client may leave
    """The client went away before its request was whole."""


class Door:
    """Lets in callers with the right bearer key; the refused are told how to knock, and written down."""

    def __init__(self, app: App, server: "BulkheadServer", settings: ServerSettings) -> None:
        self.app, self.server, self.settings = app, server, settings
        self.names = TransportSecurityMiddleware(security_of(settings, LOOPBACK[0]))

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope[REACHED] = set[str]()
        watched = self.watching(scope, send)
        refusal = await self.refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, watched)
            return
        try:
            await self.app(scope, whole(receive), watched)
        except HungUp:
            return

    async def refusal(self, scope: Scope) -> Response | None:
        """Where no key is asked for, the Host is what keeps a web page of somebody else's out."""
        key = secret_value(self.settings.http_token)
        if key is None or scope["path"] in OPEN_TO_ALL:
            return await self.names.validate_request(Request(scope))
        if not presents(scope, key):
            return unauthorized()
        scope[CALLER_KEY] = "bearer"
        return None

    def watching(self, scope: Scope, send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
        """What is turned away never reaches the pipeline: its status tells, and its text is ours."""
        held: list[Any] = []
        body = bytearray()

        async def watched(message: Any) -> None:
            if message["type"] == "http.response.start":
                rule = None if reached(scope) else rule_of(message["status"])
                if rule is not None:
                    self.write_down(scope, rule)
                    held.append(message)
                    return
            elif held:
                body.extend(message.get("body", b""))
                if message.get("more_body", False):
                    return
                told = plain(bytes(body))
                start = held.pop()
                await send({**start, "headers": resized(start["headers"], len(told))})
                message = {"type": "http.response.body", "body": told}
            await send(message)

        return watched

    def write_down(self, scope: Scope, rule: str) -> None:
        turned_away_from(self.server, scope.get("client"), rule)


def turned_away_from(server: "BulkheadServer", client: tuple[str, int] | None, rule: str) -> None:
    turned_away(server.runtime, rule, targets=[f"client:{client[0]}"] if client else [])


def rule_of(status: int) -> str | None:
    if 400 <= status < 500:  # noqa: PLR2004 - the client's errors
        return TURNED_AWAY.get(status, f"http_{status}")
    return TURNED_AWAY.get(status)


def reached(scope: Scope) -> bool:
    """Whether the pipeline has seen this request, not only the listing the SDK asks for on the way to it."""
    methods: set[str] = scope[REACHED]
    named = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"mcp-method"), None)
    return bool(methods) and (named is None or named in methods)


def whole(receive: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """`receive`, ending a request whose client left in the middle of it: nobody is there to be answered."""
    complete = False

    async def received() -> Any:
        nonlocal complete
        message = await receive()
        if message["type"] == "http.request":
            complete = not message.get("more_body", False)
        elif not complete:
            raise HungUp
        return message

    return received


def plain(body: bytes) -> bytes:
    """The SDK's words for what it could not read quote what was sent; ours do not."""
    try:
        answer = json.loads(body)
        error = answer["error"]
        code, said = error["code"], str(error["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return body
    if code not in FIXED or not said.startswith(("Parse error", "Validation error")):
        return body
    told = {"jsonrpc": "2.0", "id": answer.get("id"), "error": {"code": code, "message": FIXED[code]}}
    return json.dumps(told, separators=(",", ":")).encode()


def resized(headers: Any, length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


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
    server.middleware.insert(0, partial(noting, server))
    return Door(app, server, settings)


async def noting(server: "BulkheadServer", ctx: Any, call_next: Any) -> Any:
    """Outside the pipeline: tell the door which requests have a record, and record those that will have none."""
    scope = getattr(ctx.request, "scope", {})
    if ctx.request_id is not None:
        scope.get(REACHED, set()).add(ctx.method)
    elif not ctx.method.startswith("notifications/"):  # the SDK takes a request with a broken id for a notification
        turned_away_from(server, scope.get("client"), "request_without_id")
    return await call_next(ctx)


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


# -- connections ------------------------------------------------------------------------------------------------------


class Seldom(logging.Filter):
    """Of warnings that say the same, one in ten seconds: whoever knocks without end must not fill the disk."""

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, float] = {}
        self.untold: dict[str, int] = {}

    def due(self, what: str) -> int | None:
        """How many were left out before this one; None when this one is left out as well."""
        now = time.monotonic()
        if now - self.last.get(what, -SAME_LINE_S) < SAME_LINE_S:
            self.untold[what] = self.untold.get(what, 0) + 1
            return None
        self.last[what] = now
        return self.untold.pop(what, 0)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        more = self.due(str(record.msg))
        if more:
            record.msg = f"{record.msg} ({more} more since the last such line)"
        return more is not None

    def warn(self, what: str) -> None:
        more = self.due(what)
        if more is not None:
            log.warning("%s (%d more since the last such line)", what, more)


class Gate:
    """The connections that owe us the rest of a request, oldest first; the oldest make room for new ones."""

    def __init__(
        self,
        seldom: Seldom,
        refused: Callable[[tuple[str, int] | None, str], None],
        most: int = OWING,
        head_s: float = HEAD_S,
        body_s: float = BODY_S,
    ) -> None:
        self.seldom, self.refused, self.most, self.head_s, self.body_s = seldom, refused, most, head_s, body_s
        self.owing: dict[Connection, None] = {}

    def owes(self, connection: "Connection") -> None:
        self.owing[connection] = None
        while len(self.owing) > self.most:
            next(iter(self.owing)).hang_up("connections without a whole request made room for new ones")

    def owes_nothing(self, connection: "Connection") -> None:
        self.owing.pop(connection, None)


class Connection(H11Protocol):
    """Uvicorn's connection, with a deadline for the head of a request and one for its body. A call in work has none."""

    def __init__(self, gate: Gate, **given: Any) -> None:
        super().__init__(**given)
        self.gate = gate
        self.stage: tuple[Any, float | None] | None = None
        self.deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.judge()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.judge()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.judge()

    def connection_lost(self, exc: Exception | None) -> None:
        self.settle()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self.gate.refused(self.client, "http_400")
        super().send_400_response(msg)

    def judge(self) -> None:
        """Time runs from the beginning of a stage: single bytes, however many, do not buy more of it."""
        if self.transport.is_closing():
            return
        cycle = cast("Any", self.cycle)
        if cycle is None or cycle.response_complete:
            limit = self.gate.head_s
        else:
            limit = self.gate.body_s if cycle.more_body else None
        if self.stage == (cycle, limit):
            return
        self.settle()
        self.stage = (cycle, limit)
        if limit is not None:
            self.deadline = self.loop.call_later(limit, self.hang_up, "connections brought no whole request in time")
            self.gate.owes(self)

    def settle(self) -> None:
        self.gate.owes_nothing(self)
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def hang_up(self, why: str) -> None:
        self.settle()
        self.gate.seldom.warn(why)
        self.transport.abort()


def places() -> int:
    """How many may owe us a request: descriptors are shared with the files the calls open."""
    try:
        import resource
    except ImportError:  # Windows
        return OWING
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return OWING if soft == resource.RLIM_INFINITY else max(8, min(OWING, soft // 4))


@contextmanager
def quiet_trouble(seldom: Seldom) -> Generator[None]:
    """Asyncio and uvicorn write a line, or a stack, for every connection they cannot take."""
    loop, noisy = asyncio.get_running_loop(), logging.getLogger("uvicorn.error")

    def heard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if str(context.get("message")).startswith("socket.accept()"):
            seldom.warn("a connection could not be accepted: the system is out of descriptors or memory")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(heard)
    noisy.addFilter(seldom)
    try:
        yield
    finally:
        noisy.removeFilter(seldom)
        loop.set_exception_handler(None)


async def serve_http(server: "BulkheadServer", telemetry: Any = None) -> None:
    """Serve until a signal; the first line on stderr says where."""
    settings = server.runtime.settings
    assert settings.http_address is not None
    host, port = settings.http_address
    safe_to_bind(settings, host)
    most, seldom = places(), Seldom()
    gate = Gate(seldom, partial(turned_away_from, server), most)
    config = uvicorn.Config(
        asgi_app(server, telemetry),
        http=cast("type[asyncio.Protocol]", partial(Connection, gate)),
        ws="none",
        limit_concurrency=3 * most,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACE_S,  # type: ignore[arg-type] - it goes to wait_for, which takes fractions
        server_header=False,
    )
    quiet = QuietServer(config)
    with quiet_trouble(seldom):
        await run(quiet, host)


async def run(quiet: QuietServer, host: str) -> None:
    from ..app import stop_on_signals

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
