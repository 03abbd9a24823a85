"""The MCP Inspector, as a person types it, in both eras."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcp_bulkhead import ServerSpec, World, installed_specs

from .parts import Outcome, node, npm_package, run

ERAS = ("modern", "legacy")
TOOL_SAID_NO = 5


class Inspector:
    """Its command line, aimed at one server."""

    def __init__(self, spec: ServerSpec, world: World, state: Path) -> None:
        program = npm_package("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
        self.before: list[str | Path] = [node(), program, "--cli", "--format", "json"]
        self.home = {"HOME": str(state.parent)}  # it keeps files of its own there
        self.after = [sys.executable, "-m", spec.module, "--state-dir", str(state), *world.arguments]
        for name, value in world.environment.items():
            self.before += ["-e", f"{name}={value}"]

    def __call__(self, *options: str) -> Outcome:
        return run([*self.before, *options, *self.after], env=self.home)


@pytest.fixture(scope="module", params=[pytest.param(spec, id=spec.name) for spec in installed_specs()])
def spec(request: pytest.FixtureRequest) -> ServerSpec:
    return request.param


@pytest.fixture(scope="module")
def world(spec: ServerSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with spec.world(tmp_path_factory.mktemp("inspected")) as world:
        yield world


@pytest.fixture
def inspect(spec: ServerSpec, world: World, tmp_path: Path) -> Inspector:
    return Inspector(spec, world, tmp_path / "state")


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_finds_no_schema_that_some_client_would_refuse(spec: ServerSpec, inspect: Inspector, era: str):
    outcome = inspect("--method", "tools/list", "--strict", "--protocol-era", era)
    listed = outcome.json()["result"]["tools"]
    assert {tool["name"] for tool in listed} >= {example.name for example in spec.examples() if example.kind == "tool"}
    assert "Issue:" not in outcome.err


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_gets_an_answer(spec: ServerSpec, world: World, inspect: Inspector, era: str):
    example = next(one for one in spec.examples() if one.kind == "tool" and not one.hostile and not one.flags)
    given = json.dumps(example.given(world))
    outcome = inspect(
        "--method", "tools/call", "--tool-name", example.name, "--tool-args-json", given, "--protocol-era", era
    )
    assert not outcome.json()["result"]["isError"]


@pytest.mark.parametrize("era", ERAS)
def test_the_inspector_hears_why_a_call_is_refused(spec: ServerSpec, world: World, inspect: Inspector, era: str):
    example = next(one for one in spec.examples() if one.kind == "tool" and one.hostile and not one.flags)
    given = json.dumps(example.given(world))
    outcome = inspect(
        "--method", "tools/call", "--tool-name", example.name, "--tool-args-json", given, "--protocol-era", era
    )
    assert outcome.code == TOOL_SAID_NO
    text = json.loads(outcome.out)["result"]["content"][0]["text"]
    assert json.loads(text)["error"]["code"] == example.code
