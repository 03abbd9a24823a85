"""Programs that a server starts behind a fence of their own, while the server itself stays as it is."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_bulkhead.guards.sandbox import ChildFence, Fence, probe, system_paths

ABI = probe().abi
pytestmark = pytest.mark.skipif(not ABI, reason="this system has no Landlock")

LOOK = """
import socket, sys
told = []
for path in sys.argv[1:]:
    try:
        told.append(open(path).read())
    except OSError as error:
        told.append(error.strerror)
print(told)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("repository", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    return tmp_path


@pytest.fixture
def child(here: Path) -> Iterator[ChildFence]:
    prepared = ChildFence.prepare(Fence(read=(here / "repository",), execute=(sys.executable,)))
    assert isinstance(prepared, ChildFence)
    yield prepared
    prepared.close()


def looking_at(here: Path) -> list[str]:
    paths = (here / "repository" / "file", here / "outside" / "file", f"/proc/{os.getpid()}/status", "/proc/1/environ")
    return [sys.executable, "-I", "-c", LOOK, *map(str, paths)]


SEEN = "['repository', 'Permission denied', 'Permission denied', 'Permission denied']\n"


def test_a_program_is_behind_its_fence_and_the_server_is_not(child: ChildFence, here: Path):
    ran = child.start(lambda: subprocess.run(looking_at(here), capture_output=True, text=True, timeout=60, check=False))
    assert (ran.stdout, ran.stderr) == (SEEN, "")
    assert child.posture.on
    assert (here / "outside" / "file").read_text() == "outside"
    assert Path("/proc/self/status").read_text().split("NoNewPrivs:")[1].split()[0] == "0"


def test_one_fence_serves_many_programs_at_once(child: ChildFence, here: Path):
    running = [
        child.start(lambda: subprocess.Popen(looking_at(here), stdout=subprocess.PIPE, text=True)) for _ in range(4)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == [SEEN] * 4


def test_programs_are_started_from_any_thread(child: ChildFence, here: Path):
    seen: list[str] = []

    def work() -> None:
        ran = child.start(
            lambda: subprocess.run(looking_at(here), capture_output=True, text=True, timeout=60, check=False)
        )
        seen.append(ran.stdout)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == [SEEN] * 4


def test_a_program_of_the_system_runs_behind_a_fence_of_the_system(here: Path):
    fence = Fence(write=(here / "repository",), execute=(Path("/usr/bin"),), runtime=system_paths())
    child = ChildFence.prepare(fence)
    assert isinstance(child, ChildFence)
    script = f"echo made >made; cat made; cat {here}/outside/file 2>/dev/null || echo refused"
    ran = child.start(
        lambda: subprocess.run(
            ["/usr/bin/sh", "-c", script],
            cwd=here / "repository",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    )
    assert (ran.stdout, ran.stderr) == ("made\nrefused\n", "")
    child.close()


def test_the_server_can_end_a_program_that_cannot_signal_the_server(child: ChildFence):
    answer = "import os\ntry: os.kill(os.getppid(), 0)\nexcept PermissionError: print('refused', flush=True)\ninput()"
    process = child.start(
        lambda: subprocess.Popen(
            [sys.executable, "-I", "-c", answer if ABI >= 6 else "print('refused', flush=True)\ninput()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "refused\n"
    process.kill()
    process.communicate(timeout=60)
    assert process.returncode == -9


def test_what_the_program_s_start_raises_is_raised(child: ChildFence):
    with pytest.raises(PermissionError):
        child.start(lambda: subprocess.Popen(["/usr/bin/env"]))
    with pytest.raises(FileNotFoundError):
        child.start(lambda: subprocess.Popen(["/nowhere/program"]))


def test_an_event_loop_reads_a_fenced_program_through_its_pipe(child: ChildFence, here: Path):
    """How an async backend does it: start behind the fence, hand the pipe to the loop."""

    async def read() -> bytes:
        process = child.start(lambda: subprocess.Popen(looking_at(here), stdout=subprocess.PIPE))
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), process.stdout)
        async with asyncio.timeout(60):
            told = await reader.read()
        pipe.close()
        process.wait(60)
        return told

    assert asyncio.run(read()).decode() == SEEN


def test_a_fence_prepared_before_the_server_s_own_stands_inside_it(here: Path):
    """And a process that has its own fence already can still narrow what it starts."""
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from mcp_bulkhead.guards.sandbox import ChildFence, Fence, apply\n"
        "here, python = Path(sys.argv[1]), (sys.executable,)\n"
        "wide, narrow = Fence(read=(here,), execute=python), Fence(read=(here / 'repository',), execute=python)\n"
        "before = ChildFence.prepare(narrow)\n"
        "assert apply(wide).posture.on\n"
        "after = ChildFence.prepare(narrow)\n"
        "(here / 'outside' / 'file').read_text()\n"
        "for child in before, after:\n"
        "    child.start(lambda: subprocess.run(sys.argv[2:], check=True))\n"
    )
    command = [sys.executable, "-P", "-c", program, str(here), *looking_at(here)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == (SEEN * 2, "")


def test_a_process_with_children_behind_a_fence_is_refused_none_of_its_own():
    """A fence for children leaves no thread behind that would forbid the server's."""
    program = (
        "import subprocess, sys\n"
        "from mcp_bulkhead.guards.sandbox import ChildFence, Fence, apply\n"
        "child = ChildFence.prepare(Fence(execute=(sys.executable,)))\n"
        "child.start(lambda: subprocess.run([sys.executable, '-I', '-S', '-c', 'pass'], check=True))\n"
        "print(apply(Fence()).posture.on)\n"
    )
    command = [sys.executable, "-P", "-c", program]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.stdout, ran.stderr) == ("True\n", "")
