"""The published suite, run as its users run it, for the server that misbehaves on purpose.

scripts/test runs it for the installed servers in its own process; the long form here fuzzes those too.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_bulkhead import installed_specs

FIXTURE = Path(__file__).parent / "fixture_server"
SERVERS = ("bulkhead_fixture:SPEC",)
SHORT_S, LONG_S = 300, 3_600


def contract(server: str, directory: Path, limit: int, *more: str) -> None:
    """Run the suite for one server in a folder that knows nothing of this repository."""
    command = [sys.executable, "-m", "pytest", "--pyargs", "mcp_bulkhead.testing.contract", "-q", "--tb=short"]
    ended = subprocess.run(
        [
            *command,
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(directory),
            "-W",
            "error",
            "--bulkhead-server",
            server,
            *more,
        ],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(FIXTURE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=limit,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout.decode(errors="replace")[-20_000:]


@pytest.mark.parametrize("server", SERVERS)
def test_the_published_contract_holds(server: str, tmp_path: Path):
    contract(server, tmp_path, SHORT_S)


@pytest.mark.long
@pytest.mark.parametrize("server", [*SERVERS, *(spec.name for spec in installed_specs())])
def test_the_published_contract_holds_for_as_long_as_you_like(server: str, tmp_path: Path):
    contract(server, tmp_path, LONG_S, "--bulkhead-long", "-k", "fuzz")
