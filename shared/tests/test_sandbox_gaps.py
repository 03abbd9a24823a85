"""What a fence does not stop, each shown by doing it: who relies on a sandbox should know where it ends."""

import errno
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from mcp_bulkhead.guards.fence import Fence
from mcp_bulkhead.guards.posture import NEVER_STOPPED
from mcp_bulkhead.guards.runtime_paths import loaders
from mcp_bulkhead.guards.sandbox import ChildFence, probe

T = TypeVar("T")
ABI = probe().abi
pytestmark = pytest.mark.skipif(not ABI, reason="this system has no Landlock")

IPPROTO_MPTCP = 262

# A program for a processor: end with the code 42.
CODES = {
    "x86_64": (62, "bf2a000000b83c0000000f05"),
    "aarch64": (183, "400580d2a80b80d2010000d4"),
}


@contextmanager
def fence(declared: Fence) -> Generator[ChildFence]:
    child = ChildFence.prepare(declared)
    assert isinstance(child, ChildFence)
    yield child
    child.close()


def behind(declared: Fence, act: Callable[[], T]) -> T:
    """What `act` returns or raises on a thread behind the fence."""
    with fence(declared) as child:
        return child.start(act)


def error_of(act: Callable[[], object]) -> int:
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


@dataclass(frozen=True)
class Outside:
    """What no fence here names: a folder, a descriptor opened before, a Unix socket and a port with a listener."""

    folder: Path
    file: Path
    opened: int
    socket_name: str
    port: int


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    file = tmp_path / "outside" / "secret.txt"
    file.parent.mkdir()
    file.write_text("secret")
    (tmp_path / "outside" / "link").symlink_to("secret.txt")
    opened = os.open(file, os.O_RDONLY)
    pin = os.open(file.parent, os.O_PATH)
    name = f"/proc/self/fd/{pin}/socket"  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as local, socket.create_server(("127.0.0.1", 0)) as server:
        local.bind(name)
        local.listen()
        yield Outside(file.parent, file, opened, name, server.getsockname()[1])
    os.close(opened)
    os.close(pin)


def looking(outside: Outside) -> None:
    assert outside.file.stat().st_size == 6
    assert (outside.folder / "link").readlink() == Path("secret.txt")
    assert Path("/etc/passwd").stat().st_mtime > 0
    before = Path.cwd()
    os.chdir(outside.folder)
    os.chdir(before)


def changing_attributes(outside: Outside) -> None:
    outside.file.chmod(0o640)
    os.chown(outside.file, os.geteuid(), -1)
    os.utime(outside.file, (1, 1))
    st = outside.file.stat()
    assert (st.st_mode & 0o777, st.st_mtime) == (0o640, 1.0)
    unsupported = (errno.ENOTSUP, errno.EPERM)  # by the file system, not by the fence
    assert error_of(lambda: os.setxattr(outside.file, "user.note", b"x")) in (0, *unsupported)


def calling_a_socket_with_a_path(outside: Outside) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(outside.socket_name)


def other_ways_over_the_network(outside: Outside) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as server, socket.socket(type=socket.SOCK_DGRAM) as client:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        client.sendto(b"said", server.getsockname())
        assert server.recv(9) == b"said"
    there = ("127.0.0.1", outside.port)
    absent = (errno.EPROTONOSUPPORT, errno.ENOPROTOOPT, errno.EOPNOTSUPP)  # from this kernel, not by the fence
    assert error_of(lambda: connected(there, socket.IPPROTO_TCP)) == (errno.EACCES if ABI >= 4 else 0)
    assert error_of(lambda: connected(there, IPPROTO_MPTCP)) in (0, *absent)
    assert error_of(lambda: said_at_once(there)) in (0, *absent)


def connected(address: tuple[str, int], protocol: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(5)
        client.connect(address)


def said_at_once(address: tuple[str, int]) -> None:
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 5, 0))
        client.sendto(b"said", socket.MSG_FASTOPEN, address)


def running_from_memory(outside: Outside) -> None:
    machine, code = CODES[os.uname().machine]
    text, base = bytes.fromhex(code), 0x40_0000
    entry, size = base + 120, 120 + len(text)
    head = struct.pack("<4s12sHHIQQQI6H", b"\x7fELF", b"\2\1\1", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    program = os.memfd_create("program")
    os.write(program, head + segment + text)
    ran = subprocess.run(["program"], executable=f"/proc/self/fd/{program}", pass_fds=[program], check=False)
    os.close(program)
    assert ran.returncode == 42


def using_what_is_open(outside: Outside) -> None:
    assert os.pread(outside.opened, 6, 0) == b"secret"


SHOWN = {
    "stat": looking,
    "extended attributes": changing_attributes,
    "Unix sockets": calling_a_socket_with_a_path,
    "multipath TCP": other_ways_over_the_network,
    "memfd": running_from_memory,
    "descriptors": using_what_is_open,
}


def test_every_gap_that_a_posture_names_is_shown_and_no_other():
    assert len(SHOWN) == len(NEVER_STOPPED)
    assert [words for words, claim in zip(SHOWN, NEVER_STOPPED, strict=True) if words not in claim] == []


@pytest.mark.parametrize("words", SHOWN)
def test_a_fence_does_not_stop(words: str, outside: Outside):
    def inside() -> None:
        assert error_of(outside.file.read_text) == errno.EACCES, "there is no fence"
        SHOWN[words](outside)

    behind(Fence(), inside)


def test_a_rule_on_a_file_does_not_know_the_file_that_replaces_it(tmp_path: Path):
    """Why of a secret or a kill switch that others write anew the folder is to be declared."""
    (tmp_path / "switch").write_text("old")
    with fence(Fence(read=(tmp_path / "switch",))) as by_file, fence(Fence(read=(tmp_path,))) as by_folder:
        assert by_file.start((tmp_path / "switch").read_text) == "old"
        (tmp_path / "new").write_text("new")
        (tmp_path / "new").replace(tmp_path / "switch")
        assert by_file.start(lambda: error_of((tmp_path / "switch").read_text)) == errno.EACCES
        assert by_folder.start((tmp_path / "switch").read_text) == "new"


def test_one_dynamic_program_lets_in_all_that_may_be_read(tmp_path: Path):
    """The kernel starts its loader, and a loader maps whatever it is told to."""
    program = tmp_path / "program"
    shutil.copy2("/bin/true", program)
    run, by_loader = subprocess.run, [*loaders(), program]
    declared = Fence(read=(tmp_path,), execute=(sys.executable,))
    assert behind(declared, lambda: error_of(lambda: run([program], check=False))) == errno.EACCES
    assert behind(declared, lambda: run(by_loader, check=False).returncode) == 0
    unnamed = Fence(read=(tmp_path,))
    assert behind(unnamed, lambda: error_of(lambda: run(by_loader, check=False))) == errno.EACCES


def test_a_folder_opened_as_a_link_target_is_opened_where_the_link_leads(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("text")
    (tmp_path / "name").symlink_to("real")
    assert behind(Fence(read=(tmp_path / "name",)), (tmp_path / "real" / "file").read_text) == "text"


def test_what_an_older_kernel_does_not_stop_is_left_and_said():
    """The scopes and ports of newer versions: test_sandbox.py shows them stopped where this kernel can."""
    with fence(Fence()) as child:
        left = " ".join(child.posture.leaves)
        assert ("signalling" in left) == (ABI < 6)
        assert error_of(lambda: child.start(lambda: os.kill(os.getppid(), 0))) == (errno.EPERM if ABI >= 6 else 0)
