"""A fence around this process, or around the programs it starts, that the kernel keeps: Landlock, without privileges.

It is the belt behind the guards. A guard decides about every path and address that a call names; the fence holds when
the guard, a library below it or the interpreter is wrong. It knows nothing of calls and callers, cannot be taken down
again, and is inherited by every thread and program started later. Put it up after the imports that are always needed
and before the first thread:

    outcome = apply(Fence(read=roots, write=(state_dir,), connect=(4318,)))
    if not outcome.posture.on: ...

Later imports, `/proc/self/fd`, pipes, name lookups, TLS and listening for HTTP go on working. What does not is named by
`outcome.posture.leaves` and `.stops`. A helper process that is needed later and may not be started by then, such as an
interpreter for regular expressions, is either named in `execute`, or started before the fence: then it stays outside,
and killing it asks for `signals=True`.
"""

import errno
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self, TypeVar

from mcp_bulkhead.errors import Unsupported

from . import landlock
from .fence import Fence, Rules, rules_for
from .landlock import Place, Ruleset
from .posture import WORDS, Posture, Reason, posture_of
from .runtime_paths import interpreter_paths, system_paths

__all__ = [
    "Applied",
    "ChildFence",
    "Fence",
    "NotApplied",
    "Place",
    "Posture",
    "Reason",
    "Support",
    "apply",
    "interpreter_paths",
    "posture_of",
    "probe",
    "system_paths",
]

T = TypeVar("T")

REASONS: Mapping[int, Reason] = {
    errno.ENOSYS: "no_landlock",
    errno.EOPNOTSUPP: "disabled",
    errno.EPERM: "forbidden",
    errno.E2BIG: "too_deep",
}
OWN_PROCESS: Final = "/proc/self"
PATIENCE_S: Final = 1.0
TICK_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Support:
    """What this system can do: an ABI of 1 or more, or a reason."""

    abi: int
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """The fence is up. `absent` are declared places that do not exist, and therefore stay closed if they appear."""

    fence: Fence
    abi: int
    absent: tuple[str, ...] = ()

    @property
    def posture(self) -> Posture:
        return posture_of(self.fence, self.abi, self.absent)


@dataclass(frozen=True, slots=True)
class NotApplied:
    """Nothing is fenced in, and why."""

    reason: Reason
    abi: int = 0
    detail: str = ""

    @property
    def words(self) -> str:
        return WORDS[self.reason]

    @property
    def posture(self) -> Posture:
        return Posture(self.abi, self.reason, self.detail)


def probe() -> Support:
    if sys.platform != "linux":
        return Support(0, "not_linux")
    try:
        return Support(landlock.version())
    except OSError as error:
        return Support(0, REASONS.get(error.errno or 0, "failed"))


def apply(fence: Fence) -> Applied | NotApplied:
    """Fence this process in, for good. Refuses when other threads run: the kernel would leave them outside."""
    support = probe()
    if support.reason is not None:
        return NotApplied(support.reason)
    if (threads := threads_that_stay()) > 1:
        return NotApplied("threads", support.abi, f"{threads} threads")
    try:
        ruleset, absent = built(rules_for(with_own_process(fence), support.abi))
        try:
            ruleset.enter()
        finally:
            ruleset.close()
    except OSError as error:
        return refused(error, support)
    return Applied(fence, support.abi, absent)


class ChildFence:
    """A fence for programs that this process starts, made ready once; this process itself stays as it is.

    `start` runs `spawn` on a thread that goes behind the fence first and ends afterwards: what the thread starts
    inherits. So no code of ours runs between fork and exec, where a lock that another thread held would hang it.
    """

    def __init__(self, fence: Fence, ruleset: Ruleset, applied: Applied) -> None:
        self.fence = fence
        self.posture = applied.posture
        self._ruleset = ruleset

    @classmethod
    def prepare(cls, fence: Fence) -> Self | NotApplied:
        support = probe()
        if support.reason is not None:
            return NotApplied(support.reason)
        try:
            ruleset, absent = built(rules_for(fence, support.abi))
        except OSError as error:
            return refused(error, support)
        return cls(fence, ruleset, Applied(fence, support.abi, absent))

    def start(self, spawn: Callable[[], T]) -> T:
        """`start(lambda: subprocess.Popen([...]))`.

        A parent-death signal would fire at once: the parent is the thread.
        """
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="behind-fence") as passing:
            return passing.submit(self._behind, spawn).result()

    def close(self) -> None:
        self._ruleset.close()

    def _behind(self, spawn: Callable[[], T]) -> T:
        try:
            self._ruleset.enter()
        except OSError as error:
            raise Unsupported("The program could not be fenced in, and was not started.") from error
        return spawn()


def threads_that_stay() -> int:
    """A thread that Python 3.11 and 3.12 have joined may live on for a moment: the kernel's count is asked again."""
    until = time.monotonic() + PATIENCE_S
    while (threads := threads_here()) > 1 == threading.active_count() and time.monotonic() < until:
        time.sleep(TICK_S)
    return threads


def threads_here() -> int:
    """Those that Python does not know of count too."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir())
    except OSError:
        return threading.active_count()


def with_own_process(fence: Fence) -> Fence:
    """Also what /proc says about this process; a child would be shown its parent there."""
    runtime = interpreter_paths() if fence.runtime is None else fence.runtime
    return replace(fence, runtime=(*runtime, OWN_PROCESS))


def built(rules: Rules) -> tuple[Ruleset, tuple[str, ...]]:
    """The kernel's ruleset, and the declared places that could not be opened."""
    ruleset = Ruleset(rules.handled)
    try:
        for place, rights in rules.runtime:
            ruleset.allow(place, rights)
        absent = tuple(str(place) for place, rights in rules.declared if not ruleset.allow(place, rights))
        for port, right in rules.ports:
            ruleset.allow_port(port, right)
    except BaseException:
        ruleset.close()
        raise
    return ruleset, absent


def refused(error: OSError, support: Support) -> NotApplied:
    return NotApplied(REASONS.get(error.errno or 0, "failed"), support.abi, error.strerror or "")
