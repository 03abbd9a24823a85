"""The fixture server, opened anew for each test that asks for it."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing.doors import UNHURRIED, House, opened

HOME = Path(__file__).parents[2] / "tests" / "fixture_server"
EVERYTHING = (*UNHURRIED, "--toolsets", "all")
Open = Callable[..., House]
Journals = Callable[[House], "Journal"]


@dataclass(frozen=True)
class Journal:
    """What the fixture's backend wrote down, in its own process."""

    path: Path

    def lines(self) -> list[str]:
        return [line.split(" ", 1)[1] for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def shows(self, text: str, within: float = 10.0) -> float:
        """Seconds until a line begins with `text`."""
        begun = time.monotonic()
        while not any(line.startswith(text) for line in self.lines()):
            assert time.monotonic() - begun < within, f"no {text!r} within {within} s: {self.lines()}"
            time.sleep(0.002)
        return time.monotonic() - begun


@pytest.fixture(scope="session")
def fixture_spec() -> ServerSpec:
    if str(HOME) not in sys.path:
        sys.path.insert(0, str(HOME))
    return cast("ServerSpec", import_module("bulkhead_fixture").SPEC)


@pytest.fixture
def open_fixture(fixture_spec: ServerSpec, tmp_path: Path) -> Iterator[Open]:
    """`open_fixture(door, *flags)`: all its tools, and no limit but those that are named."""
    with ExitStack() as stack:

        def open_one(door: str = "memory", *flags: str) -> House:
            place = tmp_path / f"house-{len(list(tmp_path.iterdir()))}"
            return stack.enter_context(opened(fixture_spec, door, place, [*EVERYTHING, *flags]))

        yield open_one


def journal_of(house: House) -> Journal:
    return Journal(Path(house.world.facts["folder"]) / "journal.log")


@pytest.fixture
def journal() -> Journals:
    return journal_of
