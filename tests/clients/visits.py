"""Every example of a server, tried by somebody else's client, and what that client saw."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp_bulkhead import Example, ServerSpec, World
from mcp_bulkhead.testing.doors import UNHURRIED, opened

from .parts import DRIVERS, NODE_HOME, node, npm_package, old_python, run

WHOLE: Final = (*UNHURRIED, "--toolsets", "all")
"""Every tool, as often as one likes: the examples show tools that are off by default, too."""

Call = dict[str, Any]
Json = Any


@dataclass(frozen=True, slots=True)
class Client:
    """A client of others: which program drives it, and which era it speaks."""

    name: str
    driver: str
    era: str
    mode: Json = None
    door: str = "stdio"
    resolves_uris: bool = False
    """Whether it works the `..` out of a URI before it sends it: the server then sees another address."""

    def command(self) -> list[str | Path]:
        if self.driver == "python1.py":
            return [old_python(), DRIVERS / self.driver]
        if self.driver.endswith(".py"):
            return [sys.executable, DRIVERS / self.driver]
        for package in ("@modelcontextprotocol/sdk", "@modelcontextprotocol/client"):
            npm_package(package, "package.json")
        return [node(), DRIVERS / self.driver]


OURS: Final = Client("our own", "python2.py", "2026-07-28", mode="auto")
OTHERS: Final = (
    Client("Python 2, legacy", "python2.py", "2025-11-25", mode="legacy"),
    Client("Python 1", "python1.py", "2025-11-25", resolves_uris=True),
    Client("TypeScript 1", "typescript1.cjs", "2025-11-25"),
    Client("TypeScript 2, legacy", "typescript2.cjs", "2025-11-25", mode="legacy"),
    Client("TypeScript 2", "typescript2.cjs", "2026-07-28", mode={"pin": "2026-07-28"}),
    Client("TypeScript 2 over HTTP", "typescript2.cjs", "2026-07-28", mode={"pin": "2026-07-28"}, door="http"),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """What a client saw: the listings, and one answer per call."""

    era: str
    listed: Mapping[str, Json]
    calls: Sequence[Call]
    answers: Sequence[Json]


def visit(client: Client, spec: ServerSpec, directory: Path, flags: tuple[str, ...] = ()) -> Visit:
    """Start `spec` in a world of its own, and let `client` try every example that wants these flags."""
    if client.door == "http":
        with opened(spec, "http", directory, (*WHOLE, *flags)) as house:
            calls = calls_of(spec, house.world, flags)
            url = f"http://127.0.0.1:{house.server.address[1]}/mcp"
            saw = run(client.command(), given={"url": url, "mode": client.mode, "calls": calls}, env=NODE_HOME).json()
            return Visit(saw["era"], saw["listed"], calls, comparable(saw["answers"], directory))
    with spec.world(directory / "world") as world:
        calls = calls_of(spec, world, flags)
        server = started(spec, world, directory / "state", flags)
        saw = run(client.command(), given={"server": server, "mode": client.mode, "calls": calls}, env=NODE_HOME).json()
        return Visit(saw["era"], saw["listed"], calls, comparable(saw["answers"], directory))


def started(spec: ServerSpec, world: World, state: Path, flags: Sequence[str]) -> dict[str, Json]:
    """How a client starts the server."""
    return {
        "command": sys.executable,
        "args": ["-m", spec.module, "--state-dir", str(state), *WHOLE, *flags, *world.arguments],
        "env": {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **world.environment},
    }


def flags_of(spec: ServerSpec) -> tuple[tuple[str, ...], ...]:
    """The sets of flags that some example wants, the empty one first."""
    return tuple(sorted({(), *(example.flags for example in spec.examples())}))


def calls_of(spec: ServerSpec, world: World, flags: tuple[str, ...]) -> list[Call]:
    """Every example as the call it makes, a hostile one also as the resource it might be, and two strangers."""
    wanted = [example for example in spec.examples() if example.flags == flags]
    strangers = [
        {"kind": "tool", "name": "no_such_tool", "arguments": {}},
        {"kind": "resource", "name": "nothing://here", "arguments": {}},
    ]
    return [call for example in wanted for call in as_calls(example, world)] + strangers


def as_calls(example: Example, world: World) -> Iterator[Call]:
    address = example.address(world)
    if example.kind != "resource":
        yield {"kind": example.kind, "name": example.name, "arguments": example.given(world)}
    if address is not None:
        yield {"kind": "resource", "name": address, "arguments": {}}


def code_of(saw: Json) -> str | int | None:
    """Why a call was refused: our code, or the protocol's."""
    if "error" in saw:
        return saw["error"]["code"]
    result = saw["result"]
    return result["_meta"]["io.github.mcp-bulkhead/error"]["code"] if result["isError"] else None


PASSING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8,64}\b"), "<hex>"),
    (re.compile(r'((?:cursor=|"next":)\\?")[^"\\]+'), r"\1<cursor>"),
)
"""What differs from answer to answer: times of files, digests, the nonce of a fence, and what a key has signed."""


def comparable(value: Json, directory: Path) -> Json:
    """`value` without what only this world has, and without what a client may leave out."""
    if isinstance(value, str):
        shown = value.replace(str(directory), "<world>")
        for pattern, instead in PASSING:
            shown = pattern.sub(instead, shown)
        return shown
    if isinstance(value, list):
        return [comparable(item, directory) for item in value]
    if isinstance(value, dict):
        return {
            key: "<cursor>" if key == "next" else comparable(item, directory)
            for key, item in value.items()
            if item is not None
        }
    return value
