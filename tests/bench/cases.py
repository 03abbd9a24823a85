"""What is measured, each beside its yardstick in one run, with the bound it must keep."""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from peers import Bench, Peer
from tree import NEEDLE, SUFFIXES

WARM = 20


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table. `bound` is what the figure must not pass (or must reach, when `least`)."""

    what: str
    ours: str
    beside: str
    figure: float
    bound: float | None
    unit: str
    least: bool = False

    @property
    def kept(self) -> bool:
        if self.bound is None:
            return True
        return self.figure >= self.bound if self.least else self.figure <= self.bound


def median(values: list[float]) -> float:
    return statistics.median(values)


def interleaved(runs: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Each measure in turn, over and over: a machine that slows down slows down for all."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(runs):
        for place, measure in enumerate(measures):
            taken[place].append(measure())
    return taken


def start(bench: Bench) -> Iterator[Measured]:
    def once(peer: Peer | None) -> float:
        assert peer is not None
        with peer:
            return peer.initialize()

    once(bench.ours())
    ours, bare = interleaved(bench.runs, lambda: once(bench.ours()), lambda: once(bench.bare()))
    ratio = median([mine / its for mine, its in zip(ours, bare, strict=True)])
    yield Measured(
        "start to answered initialize", f"{median(ours):.0f} ms", f"{median(bare):.0f} ms bare SDK", ratio, 1.15, "x"
    )


def pipeline(bench: Bench) -> Iterator[Measured]:
    """A call that does nothing, through the whole pipeline with audit on, against the bare SDK."""
    with bench.ours() as ours, bench.bare() as bare, bench.fixture() as fixture:
        for peer in (ours, bare, fixture):
            peer.initialize()
        probe, echo = {"path": "d0"}, {"text": "d0"}
        for _ in range(WARM):
            ours.timed("fs_list", {"path": "d0/e0"})
            bare.timed("nothing", probe)
            fixture.timed("fx_echo", echo)
        small = {"paths": ["d0/e0/f0.py"]}
        mine, its = interleaved(300, lambda: fixture.timed("fx_echo", echo), lambda: bare.timed("nothing", probe))
        added = median(mine) - median(its)
        what = "warm call, whole pipeline added"
        yield Measured(what, f"{median(mine):.2f} ms", f"{median(its):.2f} ms bare SDK", added, 0.25, "ms")
        mine, its = interleaved(
            300, lambda: ours.timed("fs_read", small), lambda: bare.timed("read", {"path": "d0/e0/f0.py"})
        )
        added = median(mine) - median(its)
        yield Measured(
            "warm read of a small file, guard and thread included",
            f"{median(mine):.2f} ms",
            f"{median(its):.2f} ms bare SDK, read_text in the event loop",
            added,
            None,
            "ms",
        )
        yield Measured(
            "memory, idle and warm",
            f"{ours.resident_mb():.0f} MB",
            f"{bare.resident_mb():.0f} MB bare SDK",
            ours.resident_mb(),
            80,
            "MB",
        )
        listed = len(
            json.dumps(ours.request("tools/list", {})["tools"], separators=(",", ":"), ensure_ascii=False).encode()
        )
        yield Measured("tools/list", f"{listed} bytes", "13,017 bytes official server", listed, 6_000, "bytes")


def tree(bench: Bench) -> Iterator[Measured]:
    with ExitStack() as stack:
        ours = stack.enter_context(bench.ours())
        official = bench.official()
        ours.initialize()
        find = {"glob": "**/*.py", "limit": 1000}
        needle = {"pattern": NEEDLE}
        ours.timed("fs_find", find)
        ours.timed("fs_grep", needle)
        if official is not None:
            stack.enter_context(official)
            official.initialize()
            theirs = {"path": str(bench.tree), "pattern": "**/*.py"}
            one = {"path": str(bench.tree), "pattern": "**/f19999.c"}
            official.timed("search_files", theirs)
            mine, its = interleaved(
                bench.runs, lambda: ours.timed("fs_find", find), lambda: official.timed("search_files", theirs)
            )
            yield faster("find **/*.py in 20,000 files", mine, its, 15)
            mine, its = interleaved(
                bench.runs,
                lambda: ours.timed("fs_find", {"glob": "**/f19999.c"}),
                lambda: official.timed("search_files", one),
            )
            yield faster("find one file in 20,000", mine, its, 15)
        mine, its = interleaved(bench.runs, lambda: ours.timed("fs_grep", needle), lambda: walk_and_read(bench.tree))
        ratio = median([a / b for a, b in zip(mine, its, strict=True)])
        yield Measured(
            "grep of the whole tree",
            f"{median(mine):.0f} ms",
            f"{median(its):.0f} ms unguarded walk and read",
            ratio,
            2.0,
            "x",
        )
        yield from during_search(ours)


def faster(what: str, mine: list[float], its: list[float], bound: float) -> Measured:
    ratio = median([b / a for a, b in zip(mine, its, strict=True)])
    return Measured(
        what, f"{median(mine):.1f} ms", f"{median(its):.0f} ms official server", ratio, bound, "x faster", least=True
    )


def walk_and_read(tree: Path) -> float:
    """What a plain script would do: every file, no guard, no ignore rules, one substring search."""
    begun = time.perf_counter()
    needle, hits = NEEDLE.encode(), 0
    for folder, _, names in os.walk(tree):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:  # noqa: PTH118, PTH123 - the bare way is the yardstick
                hits += needle in file.read()
    assert hits == 1
    return (time.perf_counter() - begun) * 1000


def during_search(ours: Peer) -> Iterator[Measured]:
    """Small reads while whole-tree searches run beside them."""
    taken: list[float] = []
    for _ in range(15):
        search = ours.post("tools/call", {"name": "fs_grep", "arguments": {"pattern": NEEDLE}})
        small = [f"d{number}/e{number}/f{number}.{SUFFIXES[number]}" for number in range(5)]
        taken += [ours.timed("fs_read", {"paths": [path]}) for path in small]
        ours.answer(search)
    taken.sort()
    yield Measured(
        "small read during a search",
        f"{median(taken):.1f} ms",
        f"p95 {taken[int(len(taken) * 0.95)]:.1f} ms",
        median(taken),
        5,
        "ms",
    )


def large(bench: Bench, folder: Path) -> Iterator[Measured]:
    with bench.ours(folder) as ours:
        ours.initialize()
        ours.timed("fs_list", {"path": "."})
        before = ours.resident_mb()
        ours.forget_peak()
        first = ours.timed("fs_read", {"paths": ["big.log"]})
        grown = ours.resident_mb(peak=True) - before
        rest = [ours.timed("fs_read", {"paths": ["big.log"]}) for _ in range(bench.runs)]
        yield Measured(
            "first page of a 200 MB file", f"{first:.1f} ms first, {median(rest):.1f} ms again", "", first, 10, "ms"
        )
        yield Measured(
            "memory for it", f"+{grown:.1f} MB", "+1,374 MB official server reading it whole", grown, 20, "MB"
        )
