"""`--check` and `mcp-bulkhead doctor`: what is there, what is missing, and the exact fix."""

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .errors import Failure
from .settings import ServerSettings
from .spec import ServerSpec, installed_specs

CHECK_S: Final = 15.0
OPTIONAL: Final = (
    ("rich", 'pip install "mcp-bulkhead[demo]"', "coloured tables in the demo"),
    ("prometheus_client", 'pip install "mcp-bulkhead[prometheus]"', "/metrics"),
    ("opentelemetry.sdk", 'pip install "mcp-bulkhead[otel]"', "OpenTelemetry export"),
    ("re2", 'pip install "mcp-bulkhead-filesystem[re2]"', "linear-time regular expressions in fs_grep"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report. `level` is ok, note or bad; only bad makes the exit code 1."""

    level: str
    what: str
    said: str
    fix: str = ""


def check(spec: ServerSpec, settings: ServerSettings) -> int:
    """Build the server, ask the system behind it, and report. Nothing is served."""
    return report(list(findings_for(spec, settings)))


def findings_for(spec: ServerSpec, settings: ServerSettings) -> Iterator[Finding]:
    yield Finding("ok", "server", f"{spec.command} {spec.version}, Python {sys.version.split()[0]}")
    try:
        facts = ask(spec, settings)
    except Failure as failure:
        yield Finding("bad", "backend", failure.message, failure.hint)
    else:
        for name, fact in facts.items():
            yield Finding("ok", name, fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False))
    yield from state_findings(settings)


def ask(spec: ServerSpec, settings: ServerSettings) -> dict[str, Any]:
    import anyio

    async def inside() -> dict[str, Any]:
        server = spec.build(settings)
        with anyio.fail_after(CHECK_S):
            async with server.backend as backend:
                found: dict[str, Any] = dict(await backend.check())
        return {"tools": ", ".join(tool.name for tool in server.tools), **found}

    try:
        return anyio.run(inside)
    except TimeoutError as error:
        raise Failure(f"no answer within {CHECK_S:g} seconds", hint="Is the system behind reachable?") from error


def state_findings(settings: ServerSettings) -> Iterator[Finding]:
    folder = settings.server_state_dir
    if not settings.audit:
        yield Finding("note", "audit", "off", "Drop --no-audit to keep a record of every call.")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if writable:
        yield Finding("ok", "audit", str(settings.audit_dir))
    else:
        yield Finding("bad", "audit", f"cannot write to {folder}", "Name a writable folder with --state-dir.")


def doctor() -> int:
    """Look at the installation as a whole."""
    return report(list(installation()))


def installation() -> Iterator[Finding]:
    version = sys.version.split()[0]
    yield Finding("ok", "python", f"{version} at {sys.executable}")
    specs = installed_specs()
    if not specs:
        yield Finding("bad", "servers", "none installed", "pip install mcp-bulkhead-filesystem")
    for spec in specs:
        found = shutil.which(spec.command, path=f"{Path(sys.executable).parent}{os.pathsep}{search_path()}")
        if found:
            yield Finding("ok", spec.name, f"{spec.version}, {found}")
        else:
            yield Finding("note", spec.name, f"{spec.version}, {spec.command} is not on PATH", "Use its absolute path.")
    yield guard_finding()
    for module, fix, what in OPTIONAL:
        if importable(module):
            yield Finding("ok", what, f"{module} is installed")
        else:
            yield Finding("note", what, f"{module} is not installed", fix)


def search_path() -> str:
    from .settings.environment import process_environment

    return process_environment().get("PATH", "")


def importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def guard_finding() -> Finding:
    """Which way paths are checked here."""
    import tempfile

    from .guards.paths import RootFS

    with tempfile.TemporaryDirectory() as folder:
        root = RootFS(folder)
        method = root.method
        root.close()
    if method == "openat2":
        return Finding("ok", "path guard", "openat2: the kernel checks every path")
    return Finding("note", "path guard", f"{method}: every component is opened and checked", "Linux 5.6+ has openat2.")


def report(findings: list[Finding]) -> int:
    """Aligned lines for a person, with colour on a terminal; the exit code for a machine."""
    colour = sys.stdout.isatty()
    marks = {"ok": ("ok  ", "32"), "note": ("note", "33"), "bad": ("BAD ", "31")}
    width = max((len(finding.what) for finding in findings), default=0)
    for finding in findings:
        mark, code = marks[finding.level]
        shown = f"\x1b[{code}m{mark}\x1b[0m" if colour else mark
        print(f"{shown}  {finding.what:<{width}}  {finding.said}")
        if finding.fix and finding.level != "ok":
            print(f"      {'':<{width}}  fix: {finding.fix}")
    return 1 if any(finding.level == "bad" for finding in findings) else 0
