"""A process behind a fence, asked from inside: what is declared works, the rest fails by the kernel's word."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from mcp_bulkhead.guards.sandbox import Fence, probe, system_paths

ABI = probe().abi
pytestmark = pytest.mark.skipif(not ABI, reason="this system has no Landlock")

INSIDE = """
import errno, json, os, socket, subprocess, sys, threading
from mcp_bulkhead.guards.sandbox import Fence, apply

fences, lines, here = json.load(sys.stdin)

def tried(line):
    try:
        got = eval(line, globals())
    except OSError as error:
        return errno.errorcode.get(error.errno, repr(error))
    return got if isinstance(got, (str, int, list, type(None))) else "done"

def wrote(path, text="changed", mode="w"):
    with open(path, mode) as file:
        file.write(text)

def in_a_child(act):
    told, tell = os.pipe()
    if not (pid := os.fork()):
        os.write(tell, json.dumps(act()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(os.read(told, 65536))

def on_a_thread(act):
    got = []
    thread = threading.Thread(target=lambda: got.append(act()))
    thread.start()
    thread.join()
    return got[0]

def child_is_killed():
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    return child.wait(10)

def connected(port, host="127.0.0.1"):
    with socket.create_connection((host, port), timeout=5) as there:
        return there.recv(5).decode()

def listened(port=0):
    with socket.create_server(("127.0.0.1", port)) as server:
        with socket.create_connection(server.getsockname(), timeout=5):
            server.accept()[0].close()

for fence in fences:
    declared = {name: tuple(value) if isinstance(value, list) else value for name, value in fence.items()}
    outcome = apply(Fence(**declared))
    assert outcome.posture.on, outcome
print(json.dumps([tried(line) for line in lines]))
"""


def inside(*fences: Fence, here: Path, tells: list[str]) -> dict[str, object]:
    """What each line comes to in a process behind these fences: its value, `done`, or the name of the error."""
    given = json.dumps([[asdict(fence) for fence in fences], tells, str(here)], default=str)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", INSIDE],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=here,
        env={"HOME": str(here), "LC_ALL": "C.UTF-8"},
    )
    assert ran.returncode == 0, ran.stderr
    return dict(zip(tells, json.loads(ran.stdout), strict=True))


def all_of(told: dict[str, object], *expected: object) -> None:
    assert {line: got for line, got in told.items() if got not in expected} == {}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("readable/sub/deep.txt", "readable/note.txt", "writable/draft.txt", "writable/sub/deep.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("inside")
    (tmp_path / "outside" / "folder").mkdir(parents=True)
    (tmp_path / "outside" / "secret.txt").write_text("secret")
    for name in ("readable", "writable"):
        (tmp_path / name / "link").symlink_to(tmp_path / "outside" / "secret.txt")
        (tmp_path / name / "folder-link").symlink_to("../outside")
    return tmp_path


GREETER = """
import socket, sys
server = socket.socket(fileno=int(sys.argv[1]))
while True:
    caller, _ = server.accept()
    caller.sendall(b"hello")
    caller.close()
"""


@pytest.fixture
def greeter() -> Iterator[int]:
    """A port on this machine where somebody says hello."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = [sys.executable, "-I", "-c", GREETER, str(server.fileno())]
        greeting = subprocess.Popen(command, pass_fds=[server.fileno()])
        yield port
        greeting.kill()
        greeting.wait(10)


def fence_of(here: Path, **more: object) -> Fence:
    return Fence(read=(here / "readable",), write=(here / "writable",), **more)  # pyright: ignore[reportArgumentType]


def test_nothing_outside_the_fence_can_be_read_by_any_name(here: Path):
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "open('/etc/passwd').read()",
            "open('/etc/shadow').read()",
            "open(here + '/outside/secret.txt').read()",
            "open(here + '/readable/../outside/secret.txt').read()",
            "open(here + '/readable/link').read()",
            "open(here + '/readable/folder-link/secret.txt').read()",
            "open('outside/secret.txt').read()",
            "open('/proc/self/cwd/outside/secret.txt').read()",
            "open('/proc/self/root/etc/passwd').read()",
            "open('/proc/1/status').read()",
            "open('/proc/1/environ', 'rb').read()",
            "open('/proc/1/root/etc/passwd').read()",
            "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
            "open('/sys/kernel/notes', 'rb').read()",
            "os.open('/dev/mem', os.O_RDONLY)",
            "os.open('secret.txt', os.O_RDONLY, dir_fd=os.open(here + '/outside', os.O_PATH))",
            "os.open('/proc/self/fd/%d' % os.open(here + '/outside/secret.txt', os.O_PATH), os.O_RDONLY)",
            *(f"os.listdir({folder!r})" for folder in ("/", "/etc", "/proc", "/tmp", "/home", str(here), ".")),
            "os.listdir(here + '/outside')",
        ],
    )
    absent = {line for line, got in told.items() if got == "ENOENT"}
    assert absent <= {"open('/sys/kernel/notes', 'rb').read()", "os.open('/dev/mem', os.O_RDONLY)"}
    all_of(told, "EACCES", "ENOENT")


def test_a_folder_that_may_be_read_can_be_read_and_not_changed(here: Path):
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "open(here + '/readable/note.txt').read()",
            "open(here + '/readable/sub/deep.txt').read()",
            "open('/proc/self/fd/%d' % os.open(here + '/readable/note.txt', os.O_PATH)).read()",
        ],
    )
    all_of(told, "inside")
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "wrote(here + '/readable/note.txt')",
            "wrote(here + '/readable/note.txt', mode='a')",
            "wrote(here + '/readable/new.txt', mode='x')",
            "os.open(here + '/readable', os.O_TMPFILE | os.O_RDWR)",
            "os.open('/proc/self/fd/%d' % os.open(here + '/readable/note.txt', os.O_RDONLY), os.O_RDWR)",
            *(["os.truncate(here + '/readable/note.txt', 0)"] if ABI >= 3 else []),
            "os.mkdir(here + '/readable/new')",
            "os.unlink(here + '/readable/note.txt')",
            "os.rmdir(here + '/readable/sub')",
            "os.rename(here + '/readable/note.txt', here + '/readable/other.txt')",
            "os.symlink('note.txt', here + '/readable/new-link')",
            "os.link(here + '/readable/note.txt', here + '/readable/second.txt')",
        ],
    )
    all_of(told, "EACCES", "EOPNOTSUPP")  # not every file system has nameless files
    assert (here / "readable" / "note.txt").read_text() == "inside"


def test_a_folder_that_may_be_written_takes_everything_that_editing_needs(here: Path):
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "wrote(here + '/writable/new.txt', mode='x')",
            "wrote(here + '/writable/draft.txt')",
            "wrote(here + '/writable/draft.txt', mode='a')",
            "os.truncate(here + '/writable/draft.txt', 3)",
            "os.mkdir(here + '/writable/folder')",
            "os.rename(here + '/writable/new.txt', here + '/writable/renamed.txt')",
            *(["os.rename(here + '/writable/renamed.txt', here + '/writable/folder/moved.txt')"] if ABI >= 2 else []),
            "os.link(here + '/writable/draft.txt', here + '/writable/second.txt')",
            "os.symlink('draft.txt', here + '/writable/new-link')",
            "os.unlink(here + '/writable/second.txt')",
            "os.mkdir(here + '/writable/passing')",
            "os.rmdir(here + '/writable/passing')",
            "__import__('shutil').rmtree(here + '/writable/sub')",
            "os.fsync(os.open(here + '/writable/draft.txt', os.O_RDWR))",
        ],
    )
    all_of(told, "done", None)
    assert (here / "writable" / "draft.txt").read_text() == "cha"


def test_nothing_leaves_a_writable_folder_and_nothing_outside_changes(here: Path):
    before = sorted(here.joinpath("outside").rglob("*"))
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "wrote(here + '/outside/new.txt', mode='x')",
            "wrote(here + '/outside/secret.txt')",
            "wrote(here + '/writable/link')",
            "wrote(here + '/writable/folder-link/new.txt', mode='x')",
            "wrote(here + '/writable/../outside/new.txt', mode='x')",
            "os.symlink(here + '/outside/made.txt', here + '/writable/ahead') or wrote(here + '/writable/ahead')",
            "os.rename(here + '/writable/draft.txt', here + '/outside/draft.txt')",
            "os.rename(here + '/writable/draft.txt', here + '/readable/draft.txt')",
            "os.rename(here + '/outside/secret.txt', here + '/writable/stolen.txt')",
            "os.link(here + '/writable/draft.txt', here + '/outside/draft.txt')",
            "os.link(here + '/outside/secret.txt', here + '/writable/stolen.txt')",
            "os.link(here + '/readable/note.txt', here + '/writable/now-mine.txt')",
            "os.unlink(here + '/outside/secret.txt')",
            "os.rmdir(here + '/outside/folder')",
            "os.mkdir(here + '/outside/new')",
            *(["os.truncate(here + '/outside/secret.txt', 0)"] if ABI >= 3 else []),
        ],
    )
    all_of(told, "EACCES", "EXDEV")
    assert sorted(here.joinpath("outside").rglob("*")) == before
    assert (here / "outside" / "secret.txt").read_text() == "secret"
    assert (here / "writable" / "draft.txt").read_text() == "inside"


def test_a_writable_folder_takes_no_device_pipe_or_socket(here: Path):
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            "os.mkfifo(here + '/writable/pipe')",
            "os.mknod(here + '/writable/tty', 0o20600, os.makedev(5, 0))",
            "os.mknod(here + '/writable/disk', 0o60600, os.makedev(1, 0))",
            "socket.socket(socket.AF_UNIX).bind(here + '/writable/socket')",
        ],
    )
    all_of(told, "EACCES", "EPERM")
    assert told["os.mkfifo(here + '/writable/pipe')"] == "EACCES"


@pytest.mark.skipif(ABI < 4, reason="this kernel's Landlock knows no ports")
def test_only_declared_ports_can_be_connected_to(here: Path, greeter: int):
    hello = f"connected({greeter})"
    mapped = f"connected({greeter}, '::ffff:127.0.0.1')"
    assert inside(fence_of(here), here=here, tells=[hello, mapped]) == {hello: "EACCES", mapped: "EACCES"}
    other = fence_of(here, connect=(greeter ^ 1,))
    assert inside(other, here=here, tells=[hello]) == {hello: "EACCES"}
    declared = fence_of(here, connect=(greeter ^ 1, greeter))
    assert inside(declared, here=here, tells=[hello]) == {hello: "hello"}
    unhandled = fence_of(here, connect=None)
    assert inside(unhandled, here=here, tells=[hello]) == {hello: "hello"}


@pytest.mark.skipif(ABI < 4, reason="this kernel's Landlock knows no ports")
def test_listening_is_left_alone_unless_ports_are_named(here: Path):
    anywhere, named = "socket.create_server(('127.0.0.1', 0)).close()", "socket.create_server(('127.0.0.1', 1)).close()"
    assert inside(fence_of(here), here=here, tells=[anywhere]) == {anywhere: None}
    assert inside(fence_of(here, bind=(0,)), here=here, tells=[anywhere]) == {anywhere: None}
    assert inside(fence_of(here, bind=()), here=here, tells=[anywhere, named]) == {anywhere: "EACCES", named: "EACCES"}


def test_a_server_behind_the_fence_can_be_called(here: Path):
    assert inside(fence_of(here, connect=None), here=here, tells=["listened()"]) == {"listened()": None}


TRUE = "subprocess.run(['/bin/true']).returncode"
PYTHON = "subprocess.run([sys.executable, '-I', '-S', '-c', 'pass'], stderr=subprocess.DEVNULL).returncode"


def test_no_program_can_be_started(here: Path):
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            TRUE,
            PYTHON,
            "in_a_child(lambda: tried(\"os.execv('/bin/true', ['true'])\"))",
            "subprocess.run('true', shell=True).returncode",
            "os.posix_spawn('/bin/true', ['true'], {})",
        ],
    )
    all_of(told, "EACCES")


def test_only_named_programs_can_be_started(here: Path):
    fence = fence_of(here, execute=(sys.executable,))
    assert inside(fence, here=here, tells=[PYTHON, TRUE]) == {PYTHON: 0, TRUE: "EACCES"}


def test_a_folder_of_programs_can_be_opened(here: Path):
    fence = fence_of(here, execute=(Path("/bin").resolve(),), runtime=system_paths())
    assert inside(fence, here=here, tells=[TRUE])[TRUE] == 0


def test_every_program_that_may_be_read_starts_when_execution_is_allowed(here: Path):
    fence = fence_of(here, execute=True, runtime=system_paths())
    assert inside(fence, here=here, tells=[TRUE])[TRUE] == 0


def test_what_is_started_stays_behind_the_fence(here: Path, greeter: int):
    program = (
        "import socket\n"
        "try: open('/etc/passwd')\n"
        "except PermissionError: print('no file', end=' ')\n"
        f"try: socket.create_connection(('127.0.0.1', {greeter}))\n"
        "except PermissionError: print('no port', end='')\n"
    )
    asked = f"subprocess.run([sys.executable, '-I', '-c', {program!r}], capture_output=True, text=True).stdout"
    told = inside(fence_of(here, execute=(sys.executable,)), here=here, tells=[asked])
    assert told[asked] == ("no file no port" if ABI >= 4 else "no file ")


def test_forked_children_and_later_threads_stay_behind_the_fence(here: Path):
    passwd = "tried(\"open('/etc/passwd').read()\")"
    told = inside(
        fence_of(here),
        here=here,
        tells=[
            f"in_a_child(lambda: {passwd})",
            f"on_a_thread(lambda: {passwd})",
            f"on_a_thread(lambda: in_a_child(lambda: {passwd}))",
        ],
    )
    all_of(told, "EACCES")


def test_what_a_server_needs_later_still_works(here: Path):
    """Each line is the first use of its module: its files are opened behind the fence."""
    expected = {
        "__import__('colorsys').rgb_to_hsv(0, 0, 0)[0]": "done",
        "__import__('sqlite3').connect(here + '/writable/state.db').execute('create table t (x)').rowcount": -1,
        "__import__('cryptography.x509').__name__": "cryptography",
        "__import__('anyio.to_process').__name__": "anyio",
        "__import__('mcp_bulkhead.pipeline.limits').__name__": "mcp_bulkhead",
        "__import__('zoneinfo').ZoneInfo('Europe/Paris').key": "Europe/Paris",
        "__import__('time').localtime().tm_isdst >= -1": True,
        "__import__('ssl').create_default_context() and 1": 1,
        "__import__('mimetypes').guess_type('a.html')[0]": "text/html",
        "'127.0.0.1' in {found[4][0] for found in socket.getaddrinfo('localhost', 80, socket.AF_INET)}": True,
        "len(os.urandom(4) + open('/dev/urandom', 'rb').read(4))": 8,
        "wrote(os.devnull) or open(os.devnull).read()": "",
        "on_a_thread(lambda: open(here + '/readable/note.txt').read())": "inside",
        "open('/proc/self/status').read(5)": "Name:",
        "len(os.listdir('/proc/self/fd')) > 2": True,
        "os.write(os.open('/proc/self/fd/%d' % os.memfd_create('x'), os.O_RDWR), b'abc')": 3,
        "os.write(os.pipe()[1], b'abc')": 3,
        "print('told', file=sys.stderr)": None,
        "os.isatty(0)": False,
    }
    assert inside(fence_of(here), here=here, tells=list(expected)) == expected


def test_packages_in_use_are_found_wherever_they_lie_but_the_starting_folder_is_not_opened(here: Path):
    package = here / "fork" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from mcp_bulkhead.guards.sandbox import Fence, apply\n")
    (package / "late.py").write_text("HERE = 'late'\n")
    (package / "__main__.py").write_text(
        "import mine\n"
        "assert mine.apply(mine.Fence()).posture.on\n"
        "from mine import late\n"
        "try: open('beside.txt')\n"
        "except PermissionError: print(late.HERE)\n"
    )
    (here / "fork" / "beside.txt").write_text("beside")
    command = [sys.executable, "-m", "mine"]
    ran = subprocess.run(command, cwd=here / "fork", capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "late\n", ran.stderr


def test_a_second_fence_only_narrows(here: Path):
    first = Fence(read=(here / "readable", here / "writable"), execute=(sys.executable,))
    second = Fence(read=(here / "writable", here / "outside"), execute=True)
    told = inside(
        first,
        second,
        here=here,
        tells=[
            "open(here + '/writable/draft.txt').read()",
            "open(here + '/readable/note.txt').read()",
            "open(here + '/outside/secret.txt').read()",
            TRUE,
            PYTHON,
        ],
    )
    assert list(told.values()) == ["inside", "EACCES", "EACCES", "EACCES", 0]


def test_a_fence_is_refused_when_other_threads_run_and_nothing_is_lost():
    program = (
        "import threading\n"
        "from mcp_bulkhead.guards.sandbox import Fence, apply\n"
        "stop = threading.Event()\n"
        "threading.Thread(target=stop.wait, daemon=True).start()\n"
        "outcome = apply(Fence())\n"
        "print(outcome.reason, outcome.detail, bool(open('/etc/passwd').read()), sep=', ')\n"
        "stop.set()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "threads, 2 threads, True\n"


def test_nothing_started_later_gains_privileges(here: Path):
    line = "[word for word in open('/proc/self/status') if word.startswith('NoNewPrivs')][0].split()[1]"
    assert inside(fence_of(here), here=here, tells=[line]) == {line: "1"}


def test_a_place_given_as_a_descriptor_stays_what_it_was(here: Path):
    """Between declaring a folder and putting the fence up, its name may come to mean another one."""
    program = (
        "import os, sys\n"
        "from mcp_bulkhead.guards.sandbox import Fence, apply\n"
        "pin = os.open('readable', os.O_PATH)\n"
        "os.rename('readable', 'gone'); os.rename('outside', 'readable')\n"
        "assert apply(Fence(read=(pin,))).absent == ()\n"
        "print(open('gone/note.txt').read())\n"
        "try: open('readable/secret.txt')\n"
        "except PermissionError: print('refused')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=here, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "inside\nrefused\n"


@pytest.mark.skipif(ABI < 6, reason="this kernel's Landlock knows no scopes")
def test_processes_outside_cannot_be_signalled_unless_that_is_declared(here: Path):
    parent, child = "os.kill(os.getppid(), 0)", "child_is_killed()"
    fence = fence_of(here, execute=(sys.executable,))
    assert inside(fence, here=here, tells=[parent, child]) == {parent: "EPERM", child: -9}
    assert inside(fence_of(here, signals=True), here=here, tells=[parent]) == {parent: None}


@pytest.mark.skipif(ABI < 6, reason="this kernel's Landlock knows no scopes")
def test_abstract_sockets_outside_cannot_be_reached_unless_that_is_declared(here: Path):
    name = f"\0bulkhead-{os.getpid()}"
    call = f"socket.socket(socket.AF_UNIX).connect({name!r})"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert inside(fence_of(here), here=here, tells=[call]) == {call: "EPERM"}
        assert inside(fence_of(here, abstract_sockets=True), here=here, tells=[call]) == {call: None}
