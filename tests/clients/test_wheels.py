"""Each server, installed from its wheel into an empty environment: no other server, no source, nothing editable."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from mcp_bulkhead import ServerSpec, installed_specs

from .parts import DRIVERS, REPOSITORY, run, uv
from .visits import calls_of, code_of

LOCK = REPOSITORY / "requirements.lock"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is published, built from this source with the tools that are here."""
    folder = tmp_path_factory.mktemp("dist")
    build = ["build", "--wheel", "--all-packages", "--no-build-isolation", "--python", sys.executable]
    outcome = run([uv(), "-q", *build, "--out-dir", folder], cwd=REPOSITORY)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in installed_specs()])
def test_a_wheel_alone_in_an_empty_environment_serves_every_example(spec: ServerSpec, wheels: Path, tmp_path: Path):
    command = installed(spec, wheels, tmp_path / "alone")
    with spec.world(tmp_path / "world") as world:
        calls = calls_of(spec, world, ())
        server = {
            "command": str(command),
            "args": ["--state-dir", str(tmp_path / "state"), "--rate-limit-per-minute", "0", *world.arguments],
            "env": {"PATH": "", **world.environment},
        }
        task = {"server": server, "mode": "auto", "calls": calls}
        seen = run([sys.executable, DRIVERS / "python2.py"], given=task).json()
    codes = [example.code for example in spec.examples() if example.kind == "tool" and not example.flags]
    answers = [saw for call, saw in zip(calls, seen["answers"], strict=True) if call["kind"] == "tool"]
    assert [code_of(saw) for saw in answers] == [*codes, -32602]


def installed(spec: ServerSpec, wheels: Path, place: Path) -> Path:
    """The server's console script in an environment that has nothing else of ours but the library."""
    made = run([uv(), "-q", "venv", "--no-project", "--python", sys.executable, place])
    assert made.code == 0, made.err
    bin_folder = place / ("Scripts" if os.name == "nt" else "bin")
    python = bin_folder / Path(sys.executable).name
    install = ["pip", "install", "--python", python, "--find-links", wheels, "--constraints", LOCK, spec.distribution]
    outcome = run([uv(), "-q", *install], env=mirror(), cwd=place)
    assert outcome.code == 0, outcome.err
    listed = run([uv(), "-q", "pip", "list", "--python", python, "--format", "json"]).json()
    ours = {each["name"] for each in listed if each["name"].startswith("mcp-bulkhead")}
    assert ours == {"mcp-bulkhead", spec.distribution}
    assert [each for each in listed if "editable_project_location" in each] == []
    return bin_folder / spec.command


def mirror() -> Mapping[str, str]:
    """uv reads no pip configuration: where pip was given a mirror, uv gets the same."""
    base = getattr(sys, "_base_executable", sys.executable)
    told = run([base, "-m", "pip", "config", "get", "global.index-url"]).out.strip()
    return {"UV_DEFAULT_INDEX": told} if told and "UV_DEFAULT_INDEX" not in os.environ else {}
