"""scripts/bench: measure what we promise, beside what it is compared with.

Usage: scripts/bench [--quick] [--write] [--gate] [CASE...]

Cases: start, pipeline, tree, large (default: all). --quick runs fewer rounds; --write puts the table into
docs/benchmarks.md; --gate compares every good example with the last release and does nothing else. Exit 1 when a
bound is not kept.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import cases
import gate
from peers import ROOT, Bench
from tree import plant

PAGE = ROOT / "docs" / "benchmarks.md"
HEAD = """# Benchmarks

Written by `scripts/bench --write`. Every line is measured beside its yardstick in the same minutes, in turns; the ratio
is what counts, the milliseconds are this machine's. The audit is on, at its default.

"""


def main() -> int:
    options = arguments()
    if options.gate:
        return gate.gate()
    where = Path(tempfile.gettempdir()) / f"bulkhead-bench-{os.getuid()}"
    tree, large = plant(where)
    with tempfile.TemporaryDirectory(prefix="bulkhead-bench-state-") as state:
        bench = Bench(tree, Path(state), runs=3 if options.quick else 9)
        found = list(measured(bench, large, options.cases))
    text = table(found)
    print(text)
    if options.write:
        PAGE.write_text(f"{HEAD}{machine()}\n\n{text}")
    return 0 if all(each.kept for each in found) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="*", metavar="CASE")
    for flag in ("--quick", "--write", "--gate"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_args()


def measured(bench: Bench, large: Path, wanted: list[str]) -> Iterator[cases.Measured]:
    for name, case in (
        ("start", lambda: cases.start(bench)),
        ("pipeline", lambda: cases.pipeline(bench)),
        ("tree", lambda: cases.tree(bench)),
        ("large", lambda: cases.large(bench, large)),
    ):
        if not wanted or name in wanted:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            yield from case()


def machine() -> str:
    day = datetime.now(UTC).date().isoformat()
    return (
        f"{day}, {os.cpu_count()} cores {platform.machine()}, {platform.system()}, Python {platform.python_version()}."
    )


def table(found: list[cases.Measured]) -> str:
    lines = ["| what | ours | beside | figure | bound | kept |", "|---|---|---|---|---|---|"]
    for each in found:
        bound = "" if each.bound is None else f"{'at least' if each.least else 'at most'} {each.bound:g} {each.unit}"
        kept = "yes" if each.kept else "**no**"
        lines.append(
            f"| {each.what} | {each.ours} | {each.beside} | {each.figure:.2f} {each.unit} | {bound} | {kept} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
