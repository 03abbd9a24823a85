"""A fence in words: for `--check`, for a server's instructions, and for the audit's first record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from .fence import Fence
from .landlock import NET_SINCE, SCOPE_SINCE

Reason = Literal[
    "switched_off",  # by the operator
    "not_linux",
    "no_landlock",  # a kernel without it
    "disabled",  # a kernel that has it and was started without it
    "forbidden",  # a filter around this process refuses the calls
    "threads",  # it is too late: other threads would stay outside
    "too_deep",  # as many fences as the kernel stacks are up already
    "failed",
]
WORDS: Mapping[Reason, str] = {
    "switched_off": "it was switched off",
    "not_linux": "Landlock is a part of Linux, and this system has nothing that is used in its place",
    "no_landlock": "this kernel has no Landlock; Linux 5.13 and later can",
    "disabled": "this kernel has Landlock, and was started without it (its `lsm=` parameter)",
    "forbidden": "a filter around this process, such as a container's seccomp profile, forbids Landlock's calls",
    "threads": "other threads run already, and would stay outside",
    "too_deep": "the process is behind as many fences already as the kernel allows",
    "failed": "the kernel refused a rule",
}
TRUNCATE_SINCE: Final = 3
REFER_SINCE: Final = 2
DEVICES_SINCE: Final = 5
NEVER_STOPPED: Final = (
    "looking at names, sizes and times of files anywhere (stat, readlink, chdir)",
    "changing mode, owner, times or extended attributes of a file anywhere, where this user may",
    "connecting to Unix sockets that have a path",
    "UDP, multipath TCP, and data sent with the first packet (TCP fast open)",
    "running a program held in memory (memfd), which stays behind the fence",
    "whatever is reached through descriptors that were open before",
)


@dataclass(frozen=True, slots=True)
class Posture:
    """`stops` is refused by the kernel; `leaves` is what this fence, on this kernel, does not stop."""

    abi: int
    reason: Reason | None = None
    detail: str = ""
    stops: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def on(self) -> bool:
        return self.reason is None

    @property
    def sentence(self) -> str:
        """One sentence, without a path: a model may read it."""
        if self.reason is not None:
            return f"No sandbox: {WORDS[self.reason]}{f' ({self.detail})' if self.detail else ''}."
        return f"Sandboxed by the kernel (Landlock, ABI {self.abi}): {'; '.join(self.stops)}."

    def record(self) -> dict[str, object]:
        """For a machine: what happened, and what can be relied on."""
        if self.reason is not None:
            return {"sandbox": "off", "reason": self.reason, "detail": self.detail}
        return {
            "sandbox": "landlock",
            "abi": self.abi,
            "stops": list(self.stops),
            "leaves": list(self.leaves),
            "absent": list(self.absent),
        }


def posture_of(fence: Fence, abi: int, absent: tuple[str, ...] = ()) -> Posture:
    """What this fence means on a kernel of this version."""
    return Posture(abi, stops=tuple(_stops(fence, abi)), leaves=tuple(_leaves(fence, abi)), absent=absent)


def _stops(fence: Fence, abi: int) -> Iterator[str]:
    yield f"files are read in {_places(len(fence.read) + len(fence.write))} and changed in {_places(len(fence.write))}"
    if fence.execute is False:
        yield "no program on disk can be started"
    elif fence.execute is not True:
        yield "only named programs can be started"
    if abi < REFER_SINCE:
        yield "no file can be moved from one folder to another"
    if abi >= NET_SINCE:
        yield from _ports("be connected to", fence.connect)
        yield from _ports("be listened on", fence.bind)
    if abi >= SCOPE_SINCE and not fence.signals:
        yield "no process outside can be signalled"
    if abi >= SCOPE_SINCE and not fence.abstract_sockets:
        yield "no abstract socket outside can be reached"


def _leaves(fence: Fence, abi: int) -> Iterator[str]:
    yield from NEVER_STOPPED
    if fence.execute is True:
        yield "starting programs, which stay behind the same fence"
    if abi < TRUNCATE_SINCE:
        yield "cutting short a file anywhere, where this user may (truncate)"
    if abi < DEVICES_SINCE:
        yield "ioctl on devices that may be opened"
    if abi < NET_SINCE or fence.connect is None:
        yield "TCP connections to anywhere"
    if abi < NET_SINCE or fence.bind is None:
        yield "listening on any TCP port"
    if abi < SCOPE_SINCE or fence.signals:
        yield "signalling processes of this user"
    if abi < SCOPE_SINCE or fence.abstract_sockets:
        yield "connecting to abstract sockets"


def _places(count: int) -> str:
    return {0: "no declared place", 1: "1 declared place"}.get(count, f"{count} declared places")


def _ports(verb: str, ports: tuple[int, ...] | None) -> Iterator[str]:
    if ports is None:
        return
    if ports:
        yield f"of TCP ports only {', '.join(map(str, sorted(set(ports))))} can {verb}"
    else:
        yield f"no TCP port can {verb}"
