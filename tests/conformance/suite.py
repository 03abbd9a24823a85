"""The official conformance suite as a program: run it, and read what it found."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..clients.parts import node, npm_package, run

HERE: Final = Path(__file__).parent
STAMP: Final = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
ENTRY: Final = re.compile(r"  - (\S+:\S+)")
BAD: Final = ("FAILURE", "WARNING")


@dataclass(frozen=True, slots=True)
class Findings:
    """What a run of the suite came to: its verdict, its words, and the status of every check of every scenario."""

    code: int
    said: str
    checks: Mapping[str, list[Mapping[str, Any]]]

    @property
    def summary(self) -> str:
        return self.said[-4_000:].rpartition("=== SUMMARY ===")[2]

    def count(self) -> Counter[str]:
        return Counter(check["status"] for found in self.checks.values() for check in found)

    def bad(self) -> set[str]:
        """Every check that failed or warned, whether the suite counts its scenario or not, as `scenario:check`."""
        return {
            f"{scenario}:{check['id']}"
            for scenario, found in self.checks.items()
            for check in found
            if check["status"] in BAD
        }

    def empty(self) -> list[str]:
        """Scenarios in which nothing was proved and nothing was refuted."""
        told = ("SUCCESS", *BAD)
        return [name for name, found in self.checks.items() if not any(check["status"] in told for check in found)]


def conformance(url: str, out: Path, *options: str, expected: Path) -> Findings:
    """Run the suite against the server at `url`."""
    program = npm_package("@modelcontextprotocol/conformance", "dist/index.js")
    command = [node(), program, "server", "--url", url, "-o", out, "--expected-failures", expected, *options]
    outcome = run(command)
    return Findings(outcome.code, outcome.out + outcome.err, dict(checks_in(out)))


def checks_in(out: Path) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for path in sorted(out.glob("server-*/checks.json")):
        yield STAMP.sub("", path.parent.name).removeprefix("server-"), json.loads(path.read_text())


def listed(path: Path) -> dict[str, str]:
    """The entries of a file of expected failures, each with the reason above it."""
    entries: dict[str, str] = {}
    reason: list[str] = []
    for line in path.read_text().splitlines():
        entry = ENTRY.fullmatch(line)
        if entry:
            entries[entry[1]] = " ".join(reason)
        elif line.startswith("  # "):
            reason.append(line[4:])
        else:
            reason = []
    return entries


def told(findings: Findings, names: Iterable[str]) -> list[str]:
    """What the suite says about some of its checks."""
    wanted = set(names)
    return [
        f"{scenario}:{check['id']}: {check.get('errorMessage')}"
        for scenario, found in findings.checks.items()
        for check in found
        if f"{scenario}:{check['id']}" in wanted
    ]
