"""`--gate`: every good example of this tree beside the last release's, rebuilt and run in the same minutes."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import ROOT, Peer

ROUNDS = 60
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
    packages = [
        str(path.parent) for path in (source / "shared" / "pyproject.toml", *source.glob("servers/*/pyproject.toml"))
    ]
    subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True)
    return str(python)


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
    taken: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(ROUNDS):
            taken[0].append(new.timed(name, arguments))
            taken[1].append(old.timed(name, arguments))
    except RuntimeError as error:
        print(f"gate: {name} is not comparable with {tag}: {error}")
        return 0
    now, then = (statistics.quantiles(each, n=20)[-1] for each in taken)
    slower = now > then * SLOWER and now - then > NOISE_MS
    print(f"gate: {name}: p95 {now:.2f} ms, {tag} {then:.2f} ms{'  TOO SLOW' if slower else ''}")
    return int(slower)
