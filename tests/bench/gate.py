"""`--gate`: every good example of this tree beside the last release's, rebuilt and run in the same minutes."""

import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from peers import ROOT, Peer

WARM, ROUNDS, TRIES = 10, 100, 4
SLOWER = 1.2
NOISE_MS = 0.15
"""Below this difference a ratio of two fast calls says nothing about either."""


def last_release() -> str | None:
    tags = subprocess.run(
        ["git", "-C", str(ROOT), "tag", "--list", "v*", "--sort=-v:refname"], capture_output=True, text=True, check=True
    )
    return next(iter(tags.stdout.split()), None)


def rebuilt(tag: str, folder: Path) -> str:
    """A Python with the tagged release installed."""
    source = folder / "source"
    subprocess.run(
        ["git", "-C", str(ROOT), "worktree", "add", "--detach", str(source), tag], check=True, capture_output=True
    )
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    packages = [with_extras(path) for path in (source / "shared", *sorted((source / "servers").iterdir()))]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


def with_extras(member: Path) -> str:
    """A package with everything that this environment has too, or the two would not do the same work."""
    extras = tomllib.loads((member / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
    return f"{member}[{','.join(sorted(extras))}]" if extras else str(member)


def gate() -> int:
    """0 when no example became slower than the bound allows, or when there is no release to compare with."""
    tag = last_release()
    if tag is None:
        print("gate: there is no release yet to compare with")
        return 0
    with tempfile.TemporaryDirectory(prefix="bulkhead-gate-") as scratch:
        folder = Path(scratch)
        try:
            return compare(rebuilt(tag, folder), folder, tag)
        finally:
            subprocess.run(
                ["git", "-C", str(ROOT), "worktree", "remove", "--force", str(folder / "source")], check=False
            )


def compare(old_python: str, folder: Path, tag: str) -> int:
    from mcp_bulkhead import installed_specs

    slow = 0
    for spec in installed_specs():
        with spec.world(folder / spec.name) as world:
            examples = [each for each in spec.examples() if each.kind == "tool" and not each.hostile]
            arguments = [*world.arguments, "--rate-limit-per-minute", "0", "--repeat-limit", "0"]
            state = ("--state-dir", str(folder / "state"))
            with (
                Peer([sys.executable, "-m", spec.module, *arguments, *state], world.environment) as new,
                Peer([old_python, "-m", spec.module, *arguments, *state], world.environment) as old,
            ):
                new.initialize()
                old.initialize()
                for example in examples:
                    slow += beside(example.name, example.given(world), new, old, tag)
    return 1 if slow else 0


def beside(name: str, arguments: dict[str, object], new: Peer, old: Peer, tag: str) -> int:
    """1 when the example is slower than the bound in every one of several tries: a busy minute is no regression."""
    now = then = 0.0
    for _ in range(TRIES):
        try:
            now, then = p95_of(name, arguments, new, old)
        except RuntimeError as error:
            print(f"gate: {name} is not comparable with {tag}: {error}")
            return 0
        if now <= then * SLOWER or now - then <= NOISE_MS:
            print(f"gate: {name}: p95 {now:.2f} ms, {tag} {then:.2f} ms")
            return 0
    print(f"gate: {name}: p95 {now:.2f} ms, {tag} {then:.2f} ms  TOO SLOW")
    return 1


def p95_of(name: str, arguments: dict[str, object], new: Peer, old: Peer) -> tuple[float, float]:
    """In turns, and each first as often as second."""
    taken: dict[Peer, list[float]] = {new: [], old: []}
    for number in range(WARM + ROUNDS):
        for peer in (new, old) if number % 2 else (old, new):
            one = peer.timed(name, arguments)
            if number >= WARM:
                taken[peer].append(one)
    now, then = (statistics.quantiles(taken[peer], n=20)[-1] for peer in (new, old))
    return now, then
