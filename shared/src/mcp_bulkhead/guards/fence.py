"""What a process may still do, declared as data, and what the kernel must be told so that it holds."""

from dataclasses import dataclass
from typing import Final

from .landlock import Fs, Handled, Net, Place, Scope
from .runtime_paths import interpreter_paths, loaders

READ: Final = Fs.READ_FILE | Fs.READ_DIR
# Files, folders and links come and go; editing what is in a folder takes no devices, pipes or sockets.
WRITE: Final = (
    READ
    | Fs.WRITE_FILE
    | Fs.TRUNCATE
    | Fs.MAKE_REG
    | Fs.MAKE_DIR
    | Fs.MAKE_SYM
    | Fs.REMOVE_FILE
    | Fs.REMOVE_DIR
    | Fs.REFER
)
NOWHERE: Final = "/dev/null"


@dataclass(frozen=True, slots=True)
class Fence:
    """What is named stays allowed; the rest is refused by the kernel, with EACCES, for good and for every child.

    A place is a file, or a folder with everything below it. A rule holds to what was there when the fence went up: of a
    file that others replace (a secret, a kill switch), name the folder. Access that a process already has through an
    open descriptor stays.
    """

    read: tuple[Place, ...] = ()
    write: tuple[Place, ...] = ()
    """May be read, changed, made, moved and removed."""
    execute: bool | tuple[Place, ...] = False
    """Programs that may be started, or folders of them; True for whatever may be read. They stay behind the fence.

    A script needs its interpreter named too. Naming one dynamic program lets in all that may be read, by its loader.
    """
    connect: tuple[int, ...] | None = ()
    """TCP ports that may be connected to, on any host; None leaves connections alone."""
    bind: tuple[int, ...] | None = None
    """TCP ports that may be listened on; None leaves listening alone."""
    runtime: tuple[Place, ...] | None = None
    """What any such program must read, whether it exists here or not; None is what this interpreter needs."""
    signals: bool = False
    """May signal processes outside the fence: also those it started before the fence went up."""
    abstract_sockets: bool = False
    """May connect to abstract Unix sockets that were made outside the fence."""


@dataclass(frozen=True, slots=True)
class Rules:
    """A fence as the kernel takes it. `declared` are places whose absence somebody should hear of."""

    handled: Handled
    declared: tuple[tuple[Place, Fs], ...]
    runtime: tuple[tuple[Place, Fs], ...]
    ports: tuple[tuple[int, Net], ...]


def rules_for(fence: Fence, abi: int) -> Rules:
    """The rules, less what this version of Landlock does not know."""
    programs = () if isinstance(fence.execute, bool) else fence.execute
    runtime = interpreter_paths() if fence.runtime is None else fence.runtime
    return Rules(
        handled=_handled(fence).known_to(abi),
        declared=(
            *((place, READ) for place in fence.read),
            *((place, WRITE) for place in fence.write),
            *((place, READ | Fs.EXECUTE) for place in programs),
        ),
        runtime=(
            *((place, READ) for place in runtime),
            *((loader, READ | Fs.EXECUTE) for loader in (loaders() if programs else ())),
            (NOWHERE, Fs.READ_FILE | Fs.WRITE_FILE),
        ),
        ports=(
            *((port, Net.CONNECT_TCP) for port in fence.connect or ()),
            *((port, Net.BIND_TCP) for port in fence.bind or ()),
        ),
    )


def _handled(fence: Fence) -> Handled:
    fs, net, scope = ~Fs(0), Net(0), Scope(0)
    if fence.execute is True:
        fs &= ~Fs.EXECUTE
    if fence.connect is not None:
        net |= Net.CONNECT_TCP
    if fence.bind is not None:
        net |= Net.BIND_TCP
    if not fence.signals:
        scope |= Scope.SIGNALS
    if not fence.abstract_sockets:
        scope |= Scope.ABSTRACT_SOCKETS
    return Handled(fs, net, scope)
