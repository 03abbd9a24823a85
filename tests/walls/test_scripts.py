"""The scripts teach, refuse what they do not know, and run from anywhere. None is let as far as to install anything."""

import subprocess
from pathlib import Path

import pytest

from .source_tree import REPOSITORY

SCRIPTS = ("bench", "build", "check", "demo", "docs", "test")


def run(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd)}
    return subprocess.run([script, *arguments], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_teaches(name: str, tmp_path: Path):
    done = run(REPOSITORY / "scripts" / name, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"scripts/{name}" in done.stdout


@pytest.mark.parametrize("name", ["build", "check", "test"])
def test_an_unknown_argument_is_a_misuse(name: str, tmp_path: Path):
    done = run(REPOSITORY / "scripts" / name, "--no-such-thing", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--no-such-thing" in done.stderr


def test_a_script_finds_its_repository_through_a_link(tmp_path: Path):
    link = tmp_path / "a folder" / "linked test"
    link.parent.mkdir()
    link.symlink_to(REPOSITORY / "scripts" / "test")
    assert run(link, "--help", cwd=tmp_path).returncode == 0


def test_a_script_says_which_python_it_wants(tmp_path: Path):
    copy = tmp_path / "a clone"
    for part in ("scripts", "shared", "servers/one"):
        (copy / part).mkdir(parents=True)
    for name in ("bootstrap.sh", "docs"):
        (copy / "scripts" / name).write_bytes((REPOSITORY / "scripts" / name).read_bytes())
    for name in ("requirements.lock", "pyproject.toml", "shared/pyproject.toml", "servers/one/pyproject.toml"):
        (copy / name).touch()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHON": "/bin/false"}
    done = subprocess.run(["/bin/sh", copy / "scripts" / "docs"], env=environment, cwd=tmp_path, capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "3.11" in done.stderr
    assert not (copy / ".cache" / "lock").exists()
