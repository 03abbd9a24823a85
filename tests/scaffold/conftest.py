"""Throw-away environments: a copy of the repository, and a place that knows nothing of it."""

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with a virtual environment of its own, and nothing inherited from the one that runs this test."""

    folder: Path
    environment: Path

    def run(self, *command: str | Path, cwd: Path | None = None, limit_s: float = 300) -> str:
        clean = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTEST", "COVERAGE", "COV_", "MCP_BULKHEAD", "VIRTUAL_ENV", "PYTHON"))
        }
        clean["HOME"] = str(self.environment / "home")
        (self.environment / "home").mkdir(exist_ok=True)
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd or self.folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"{command} exited {done.returncode}\n{said[-6000:]}"
        return said

    def install(self, *members: Path) -> None:
        """Our own packages, editable; their dependencies are here already."""
        arguments = [part for member in members for part in ("-e", str(member))]
        self.run(self.tool("python"), "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", *arguments)

    def tool(self, name: str) -> Path:
        return self.environment / ("Scripts" if sys.platform == "win32" else "bin") / name


def copy_repository(target: Path) -> Path:
    """What git tracks or would track, without the environment and caches."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target / name)
    return target


def uv() -> str:
    """uv from the environment that runs this test: requirements.lock brings it."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert found, "uv is missing: run the tests through scripts/test, which brings it"
    return found


def make_environment(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def copied(tmp_path: Path) -> Place:
    """A copy of the repository whose packages, but not their dependencies, are installed anew from the copy."""
    repository = copy_repository(tmp_path / "repository")
    for command in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "copy"],
    ):
        subprocess.run(["git", *command], cwd=repository, check=True, capture_output=True)
    environment = make_environment(tmp_path / "venv")
    place = Place(repository, environment)
    lend_dependencies(environment)
    place.install(repository / "shared", *sorted((repository / "servers").iterdir()))
    return place


def lend_dependencies(environment: Path) -> None:
    """The copy's environment sees this one's third-party packages, but not its editable installs."""
    site = next(environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages")
    ours = Path(sysconfig.get_path("purelib"))
    for entry in ours.iterdir():
        if entry.name.startswith(("mcp_bulkhead", "_mcp_bulkhead", "__editable__")) or (site / entry.name).exists():
            continue
        (site / entry.name).symlink_to(entry)


@pytest.fixture
def outside(tmp_path: Path) -> Place:
    """Far from the repository: an empty environment that has only the wheels, installed with plain pip."""
    wheels = tmp_path / "dist"
    for member in (ROOT / "shared", ROOT / "servers" / "filesystem"):
        subprocess.run(
            [
                uv(),
                "build",
                "-q",
                "--wheel",
                "--no-build-isolation",
                "--python",
                sys.executable,
                "-o",
                str(wheels),
                str(member),
            ],
            check=True,
            capture_output=True,
        )
    place = Place(tmp_path / "elsewhere", make_environment(tmp_path / "venv"))
    place.folder.mkdir()
    wanted = ("mcp-bulkhead[testing]", "mcp-bulkhead-filesystem")
    place.run(place.tool("python"), "-m", "pip", "install", "-q", "--find-links", wheels, *wanted)
    return place
