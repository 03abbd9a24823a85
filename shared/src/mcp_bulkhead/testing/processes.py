"""A server as a client really starts it: a process of its own, in an almost empty environment, ended by its id."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

from ..settings.environment import process_environment
from .wire import PATIENCE_S, Frame, Peer, cancelled

if TYPE_CHECKING:
    from ..spec import ServerSpec, World

INHERITED: Final = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "SYSTEMROOT", "APPDATA", "LOCALAPPDATA", "TEMP")
"""What the most careful clients let through."""


class Process:
    """One running server process: its pipes, and what it said on them."""

    def __init__(self, spec: "ServerSpec", world: "World", state: Path, flags: Sequence[str]) -> None:
        self.spec, self.world, self.state = spec, world, state
        self.started = time.perf_counter()
        self.popen = subprocess.Popen(  # noqa: S603 - the server under test
            [sys.executable, "-m", spec.module, "--state-dir", str(state), *flags, *world.arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(world.environment),
            start_new_session=True,
        )
        self.said: list[bytes] = []
        self.complaints: list[bytes] = []
        self.lines = threading.Condition()
        self.readers = [threading.Thread(target=self.read_stderr, daemon=True)]
        self.readers[0].start()

    def read_stderr(self) -> None:
        for line in cast("IO[bytes]", self.popen.stderr):
            with self.lines:
                self.complaints.append(line)
                self.lines.notify_all()

    def read_stdout(self, hear: Callable[[bytes], None], lost: Callable[[str], None]) -> None:
        def work() -> None:
            for line in cast("IO[bytes]", self.popen.stdout):
                self.said.append(line)
                hear(line)
            self.readers[0].join(1)
            lost(f"the server closed its output; it says:\n{self.stderr()}")

        reader = threading.Thread(target=work, daemon=True)
        self.readers.append(reader)
        reader.start()

    def write(self, data: bytes) -> None:
        stdin = cast("IO[bytes]", self.popen.stdin)
        stdin.write(data)
        stdin.flush()

    def complaint_with(self, text: str, timeout: float = PATIENCE_S) -> str:
        """The first line on stderr that contains `text`."""
        deadline = time.monotonic() + timeout
        with self.lines:
            while True:
                for line in self.complaints:
                    if text.encode() in line:
                        return line.decode()
                left = deadline - time.monotonic()
                if left <= 0 or (self.popen.poll() is not None and not self.readers[0].is_alive()):
                    raise TimeoutError(f"nothing with {text!r} on stderr; it says:\n{self.stderr()}")
                self.lines.wait(min(left, 0.2))

    def stderr(self) -> str:
        return b"".join(self.complaints).decode(errors="replace")

    def records(self) -> list[dict[str, Any]]:
        """The audit as it stands on disk."""
        folder = self.state / self.spec.name / "audit"
        lines = [line for path in sorted(folder.rglob("*.jsonl")) for line in path.read_bytes().splitlines()]
        return [cast("dict[str, Any]", json.loads(line)) for line in lines if line.endswith(b"}")]

    def signal(self, number: int) -> float:
        """Send a signal; the seconds until the process was gone."""
        before = time.perf_counter()
        self.popen.send_signal(number)
        self.wait()
        return time.perf_counter() - before

    def end_input(self) -> float:
        """Close its standard input; the seconds until the process was gone."""
        before = time.perf_counter()
        cast("IO[bytes]", self.popen.stdin).close()
        self.wait()
        return time.perf_counter() - before

    def wait(self, timeout: float = PATIENCE_S) -> int:
        code = self.popen.wait(timeout)
        for reader in self.readers:
            reader.join(timeout)
        return code

    def children(self) -> list[int]:
        """Processes of its session that still live (Linux; elsewhere none are seen)."""
        return [pid for pid in session_members(self.popen.pid) if pid != self.popen.pid]

    def close(self) -> None:
        if self.popen.poll() is None:
            stdin = cast("IO[bytes]", self.popen.stdin)
            try:
                stdin.close()
                self.popen.wait(5)
            except (OSError, subprocess.TimeoutExpired):
                self.popen.kill()
                self.popen.wait(5)
        for reader in self.readers:
            reader.join(2)
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except OSError:
                    continue


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    ours = process_environment()
    return {**{name: ours[name] for name in INHERITED if name in ours}, **extra}


def session_members(session: int) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


class StdioCarrier:
    """JSON lines over the pipes of one process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.guard = threading.Lock()

    def start(self, deliver: Callable[[Frame], None], lost: Callable[[str], None]) -> None:
        def hear(line: bytes) -> None:
            try:
                frame = json.loads(line)
            except ValueError:
                return  # kept in `said`, where the purity test finds it
            if isinstance(frame, dict):
                deliver(cast("Frame", frame))

        self.process.read_stdout(hear, lost)

    def send(self, frame: Frame) -> None:
        with self.guard:
            self.process.write(json.dumps(frame).encode() + b"\n")

    def abandon(self, request_id: str | int) -> Frame | None:
        return cancelled(request_id)

    def listen(self) -> None:
        """A stream carries everything."""

    def close(self) -> None:
        self.process.close()


class StdioServer:
    """A new process for every connection."""

    def __init__(self, spec: "ServerSpec", world: "World", state: Path, flags: Sequence[str]) -> None:
        self.spec, self.world, self.state, self.flags = spec, world, state, flags
        self.processes: list[Process] = []

    def spawn(self) -> Process:
        process = Process(self.spec, self.world, self.state, self.flags)
        self.processes.append(process)
        return process

    def connect(self, era: str) -> Peer:
        return Peer(StdioCarrier(self.spawn()), era)

    def records(self) -> list[dict[str, Any]]:
        return self.processes[-1].records()

    def close(self) -> None:
        for process in self.processes:
            process.close()


def interrupt(process: Process) -> float:
    return process.signal(signal.SIGINT)


def terminate(process: Process) -> float:
    return process.signal(signal.SIGTERM)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
