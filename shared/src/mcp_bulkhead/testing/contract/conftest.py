"""Which servers are asked, how they are reached, and one running server for each way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from mcp_bulkhead.testing.doors import DOORS, UNHURRIED, House, opened
from mcp_bulkhead.testing.plugin import LONG_CALLS, SHORT_CALLS
from mcp_bulkhead.testing.wire import ERAS, MODERN, Peer

if TYPE_CHECKING:
    from mcp_bulkhead import Example, ServerSpec, World

EVERYTHING = (*UNHURRIED, "--toolsets", "all")
EXAMPLES: Mapping[str, Callable[["Example"], bool]] = {
    "good_call": lambda example: example.kind == "tool" and not example.hostile,
    "hostile_call": lambda example: example.kind == "tool" and example.hostile,
    "hostile_uri": lambda example: example.hostile and example.resource is not None,
    "good_reading": lambda example: example.kind == "resource" and not example.hostile,
    "good_prompt_call": lambda example: example.kind == "prompt" and not example.hostile,
}
"""Fixture names that stand for one example each, and which examples they stand for."""

Fresh = Callable[..., "Visit"]


@dataclass(frozen=True, slots=True)
class Visit:
    """A greeted client at one server, through one door, in one era."""

    house: House
    peer: Peer
    door: str
    era: str
    tools: Mapping[str, Mapping[str, Any]]

    @property
    def spec(self) -> "ServerSpec":
        return self.house.spec

    @property
    def world(self) -> "World":
        return self.house.world

    def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.peer.call(name, arguments)

    def good_calls(self, *, reading: bool = False) -> list[tuple[str, dict[str, Any]]]:
        """The good examples as calls; with `reading`, only of tools that change nothing."""
        return [
            (example.name, example.given(self.world))
            for example in self.spec.examples()
            if EXAMPLES["good_call"](example)
            and not example.flags
            and (not reading or self.tools[example.name]["annotations"]["readOnlyHint"])
        ]


class Visits:
    """Servers stay open for the whole session: one for each way of reaching one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.open: dict[tuple[Any, ...], Visit] = {}
        self.stack = ExitStack()

    def to(self, spec: "ServerSpec", door: str, era: str, flags: Sequence[str] = ()) -> Visit:
        way = (spec.name, door, era, *flags)
        visit = self.open.get(way)
        if visit is None:
            place = self.directory / f"{len(self.open)}-{spec.name}"
            house = self.stack.enter_context(opened(spec, door, place, [*EVERYTHING, *flags]))
            visit = self.open[way] = entered(house, door, era)
        return visit


def entered(house: House, door: str, era: str) -> Visit:
    peer = house.connect(era)
    return Visit(house, peer, door, era, {tool["name"]: tool for tool in peer.request("tools/list")["tools"]})


def servers(config: pytest.Config) -> "list[ServerSpec]":
    from mcp_bulkhead import installed_specs

    wanted = cast("list[str]", config.getoption("--bulkhead-server"))
    if not wanted:
        return list(installed_specs())
    named = [name for name in wanted if ":" not in name]
    found = list(installed_specs(named)) if named else []
    missing = set(named) - {spec.name for spec in found}
    if missing:
        raise pytest.UsageError(f"no installed server is called {', '.join(sorted(missing))}")
    modules = [name.partition(":") for name in wanted if ":" in name]
    return [
        *found,
        *(cast("ServerSpec", getattr(import_module(module), attribute)) for module, _, attribute in modules),
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = set(metafunc.fixturenames)
    if not names & {"visit", "spec"}:
        return
    specs = servers(metafunc.config)
    if "visit" not in names:
        metafunc.parametrize("spec", specs, ids=[spec.name for spec in specs])
        return
    ways = [(spec, door, era) for spec in specs for door in DOORS for era in ERAS]
    chosen = next((name for name in EXAMPLES if name in names), None)
    if chosen is None:
        metafunc.parametrize("visit", [(*way, ()) for way in ways], ids=[way_id(*way) for way in ways], indirect=True)
        return
    cases = [
        pytest.param((*way, example.flags), example, id=f"{way_id(*way)}-{number}-{example.name}")
        for way in ways
        for number, example in enumerate(way[0].examples())
        if EXAMPLES[chosen](example)
    ]
    metafunc.parametrize(("visit", chosen), cases, indirect=["visit"])


def way_id(spec: "ServerSpec", door: str, era: str) -> str:
    return f"{spec.name}-{door}-{era}"


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visits]:
    held = Visits(tmp_path_factory.mktemp("bulkhead"))
    with held.stack:
        yield held


@pytest.fixture
def visit(request: pytest.FixtureRequest, visits: Visits) -> Visit:
    """One of all the ways: every server, door and era in turn."""
    return visits.to(*request.param)


@pytest.fixture
def inside(spec: "ServerSpec", visits: Visits) -> Visit:
    """The server in memory, for what does not depend on the way in."""
    return visits.to(spec, "memory", MODERN)


@pytest.fixture
def fresh(spec: "ServerSpec", tmp_path: Path) -> Iterator[Fresh]:
    """Opens the server anew, with these flags, for one test."""
    with ExitStack() as stack:

        def open_one(door: str = "memory", *flags: str, era: str = MODERN) -> Visit:
            place = tmp_path / f"house-{len(list(tmp_path.iterdir()))}"
            return entered(stack.enter_context(opened(spec, door, place, flags)), door, era)

        yield open_one


@pytest.fixture(scope="session")
def calls_per_tool(request: pytest.FixtureRequest) -> int:
    return LONG_CALLS if request.config.getoption("--bulkhead-long") else SHORT_CALLS
