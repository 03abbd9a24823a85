"""From a spec to a running server: settings, parts, transport, and a clean end. The one `main()` of every server."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, Literal

from .errors import Failure
from .settings import Parsed, ServerSettings, SettingsError, parse, secret_value
from .spec import ServerSpec

if TYPE_CHECKING:
    from pydantic import SecretStr

    from .audit import AuditLog
    from .guards.secrets import Redactor
    from .pipeline.adapter import BulkheadServer
    from .pipeline.runtime import Runtime
    from .telemetry.metrics import Telemetry

log = logging.getLogger("mcp_bulkhead")

Transport = Literal["memory", "pipe", "tcp"]
KEY_BYTES: Final = 32
AUDIT_CLOSE_S: Final = 0.2
"""Clients kill a server half a second after they ask it to stop; a dead disk must not use that up."""
SWITCH_INTERVAL_S: Final = 0.0005
"""How long a busy thread may hold the interpreter: a small call beside a search takes 1.3 ms instead of 15.6."""


def run(spec: ServerSpec, argv: Sequence[str] | None = None) -> int:
    """What a server's console script does. Returns the exit code; a served connection ends the process itself."""
    gc.disable()  # what is imported from here on stays: collecting it again and again is a tenth of the start
    try:
        parsed = parse(
            spec.settings(),
            server=spec.name,
            version=spec.version,
            description=spec.summary,
            argv=sys.argv[1:] if argv is None else argv,
            examples=spec.demo,
        )
        return act(spec, parsed)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except Failure as failure:
        print(f"{spec.command}: {failure.message}\n{failure.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        gc.enable()


def act(spec: ServerSpec, parsed: Parsed[Any]) -> int:
    if parsed.action == "version":
        print(f"{spec.command} {spec.version}")
        return 0
    if parsed.action == "print-config":
        from .publish.clients import print_config

        return print_config(spec, parsed.argument or "", parsed.arguments)
    if parsed.action == "demo":
        return serve_demo(spec)
    settings = parsed.settings
    assert settings is not None
    if parsed.action == "check":
        from .checkup import check

        return check(spec, settings)
    return serve(spec, settings)


def serve_demo(spec: ServerSpec) -> int:
    """Serve a seeded world that is thrown away at the end."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix=f"bulkhead-{spec.name}-") as folder, spec.world(Path(folder)) as world:
        state = ("--state-dir", str(Path(folder) / "state"))
        parsed = parse(
            spec.settings(),
            server=spec.name,
            version=spec.version,
            description=spec.summary,
            argv=[*state, *world.arguments],
            environ={**world.environment},
        )
        assert parsed.settings is not None
        return serve(spec, parsed.settings, leave=lambda code: code)


# -- the parts of one running server ----------------------------------------------------------------------------------


def assemble(
    spec: ServerSpec,
    settings: ServerSettings,
    *,
    transport: Transport = "memory",
    audit: "AuditLog | None" = None,
    redactor: "Redactor | None" = None,
) -> "BulkheadServer":
    """The server with its pipeline, on the SDK, ready for a transport (or for `mcp.client.Client` in memory)."""
    from .pipeline.adapter import BulkheadServer

    described = spec.build(settings)
    runtime = runtime_of(spec, settings, transport=transport, audit=audit, redactor=redactor)
    return BulkheadServer(described, runtime, title=spec.title, instructions=described.instructions)


def runtime_of(
    spec: ServerSpec,
    settings: ServerSettings,
    *,
    transport: Transport,
    audit: "AuditLog | None",
    redactor: "Redactor | None",
) -> "Runtime":
    from .pipeline.limits import Limits, Seats
    from .pipeline.runtime import Runtime, bounds_of
    from .pipeline.switch import KillSwitch
    from .state.cursors import Cursors

    bounds = bounds_of(settings)
    return Runtime(
        server=spec.name,
        version=spec.version,
        settings=settings,
        cursors=Cursors(cursor_key(settings)),
        limits=Limits(bounds),
        seats=Seats(bounds.at_once, bounds.at_once_per_caller),
        switch=KillSwitch(settings.kill_file),
        transport=transport,
        audit=audit,
        redact=redaction_of(settings, redactor or redactor_of(settings)),
    )


def redactor_of(settings: ServerSettings) -> "Redactor":
    """Knows this server's own secrets; whatever leaves, log lines included, is searched for them."""
    from .guards.secrets import Redactor

    return Redactor(secrets_of(settings))


def secrets_of(settings: ServerSettings) -> "list[SecretStr]":
    from pydantic import SecretStr

    fields = (getattr(settings, name) for name in type(settings).model_fields)
    return [value for value in fields if isinstance(value, SecretStr)]


def redaction_of(settings: ServerSettings, redactor: "Redactor") -> Callable[[str], str] | None:
    """Removes known secrets from results; nothing to do for a server that has none."""
    secrets = secrets_of(settings)
    if not secrets:
        return None
    known = [secret.get_secret_value() for secret in secrets]

    def redact(text: str) -> str:
        for place, secret in enumerate(secrets):
            if (value := secret.get_secret_value()) != known[place]:  # its file was replaced
                known[place] = value
                redactor.register(value)
        return redactor.redact(text, shapes=False).text

    return redact


def cursor_key(settings: ServerSettings) -> bytes:
    """The operator's key, else one kept in the state folder so that cursors outlive a restart, else a passing one."""
    given = secret_value(settings.cursor_key)
    if given is not None:
        return given.encode()
    path = settings.server_state_dir / "cursor.key"
    try:
        return kept_key(path)
    except OSError:
        return token_bytes(KEY_BYTES)


def kept_key(path: Path) -> bytes:
    """The key in this file, made when there is none; an empty file is what a crash or a full disk leaves."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return found_key(path) or made_key(path)


def found_key(path: Path) -> bytes | None:
    from .audit.files import read_small

    try:
        key = read_small(path)
    except FileNotFoundError:
        return None
    if len(key) not in (0, KEY_BYTES):
        raise OSError("not a key")
    return key or None


def made_key(path: Path) -> bytes:
    from .audit.files import locked, replace_file

    with locked(path.with_suffix(".lock")):  # of two processes that start together, the second takes the first's
        key = found_key(path)
        if key is None:
            key = token_bytes(KEY_BYTES)
            replace_file(path, key)
        return key


# -- serving ----------------------------------------------------------------------------------------------------------


def leave_at_once(code: int) -> int:
    """End the process now: a thread stuck in a dead mount must not keep it alive. The audit is flushed before."""
    os._exit(code)


def serve(spec: ServerSpec, settings: ServerSettings, leave: Callable[[int], int] = leave_at_once) -> int:
    """Serve until the client leaves or a signal asks to stop; then flush what is owed and go."""
    from .telemetry.logs import configure
    from .transport.stdio import Wire

    wire = None if settings.http else Wire()
    redactor = redactor_of(settings)
    logs = configure(settings.log_level, spec.name, ours=("mcp_bulkhead", spec.module), redactor=redactor)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    import anyio

    audit = audit_of(spec, settings)
    code, telemetry = 1, None
    try:
        server = assemble(spec, settings, transport="tcp" if settings.http else "pipe", audit=audit, redactor=redactor)
        telemetry = instrument(server, settings)
        if audit is not None:
            audit.reserve()
            audit.start()
        gc.freeze()
        gc.enable()
        if wire is not None:
            anyio.run(serve_stdio, server, wire)
        else:
            from .transport.http import serve_http

            anyio.run(serve_http, server, telemetry)
        code = 0
    except Failure as failure:
        print(f"{spec.command}: {failure.message}\n{failure.hint}", file=sys.stderr)
        code = 2
    except Exception:
        log.exception("the server stopped")
    finally:
        if telemetry is not None:
            telemetry.close()
        if audit is not None:
            audit.close(AUDIT_CLOSE_S)
        logs.flush()
    return leave(code)


def audit_of(spec: ServerSpec, settings: ServerSettings) -> "AuditLog | None":
    if not settings.audit:
        return None
    from .audit import AuditLog

    return AuditLog(
        settings.audit_dir,
        server=spec.name,
        retention_days=settings.audit_retention_days,
        payloads=settings.audit_payloads,
        max_bytes=settings.audit_max_mb << 20,
    )


def instrument(server: "BulkheadServer", settings: ServerSettings) -> "Telemetry | None":
    """Hang the log line and the metrics on the pipeline; what nobody exports costs nothing."""
    from .telemetry.calls import call_log, call_metrics

    runtime = server.runtime
    runtime.log = call_log(runtime)
    runtime.observe, telemetry = call_metrics(server, settings)
    return telemetry


async def serve_stdio(server: "BulkheadServer", wire: Any) -> None:
    """One client over stdin and stdout, until it closes its end."""
    import anyio

    from .pipeline.layers import turned_away
    from .transport.stdio import stdio

    def refused(why: str) -> None:
        turned_away(server.runtime, why)

    async with anyio.create_task_group() as tasks:
        stop_on_signals(tasks.cancel_scope.cancel)
        async with stdio(wire, most=server.runtime.settings.max_request_bytes, refused=refused) as (incoming, outgoing):
            lowlevel = server.lowlevel
            await lowlevel.run(incoming, outgoing, lowlevel.create_initialization_options())
        tasks.cancel_scope.cancel()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """SIGINT and SIGTERM end the server like an end of input does."""
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows has no loop signals
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(stop))
