"""What really happens when a module is imported, watched from inside a fresh process."""

import json
import subprocess
import sys
from pathlib import Path

from .source_tree import REPOSITORY, modules

WATCHER = Path(__file__).with_name("import_watcher.py")

# What a server that exports nothing, draws nothing and searches literally must not pay for at its start.
EXTRAS = ("hypothesis", "opentelemetry.sdk", "prometheus_client", "pytest", "re2", "rich", "sqlglot")


def run(*arguments: str, cwd: Path, extra_path: str = "") -> str:
    command = [sys.executable, *arguments]
    environment = {"PYTHONPATH": extra_path, "PATH": ""}
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, cwd=cwd, env=environment
    ).stdout


def module_names(root: Path) -> list[str]:
    paths = (module.path.split("/src/", 1)[1] for module in modules(root))
    return [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths]


def test_importing_any_module_leaves_the_world_alone(tmp_path: Path):
    names = module_names(REPOSITORY)
    assert "mcp_bulkhead.errors" in names
    found = json.loads(run(str(WATCHER), *names, cwd=tmp_path))
    assert not found, "\n".join(found)


def test_an_import_that_writes_a_file_or_starts_a_thread_is_seen(tmp_path: Path):
    (tmp_path / "writes.py").write_text("open('left-behind', 'w').close()")
    (tmp_path / "starts.py").write_text(
        "import threading\nstop = threading.Event()\nthreading.Thread(target=stop.wait, daemon=True).start()"
    )
    seen = json.loads(run(str(WATCHER), "writes", "starts", cwd=tmp_path, extra_path=str(tmp_path)))
    assert "writes: open" in seen
    assert "starts: changed the process" in seen


def test_a_server_starts_without_the_extras(tmp_path: Path):
    packages = sorted(path.name for path in REPOSITORY.glob("servers/*/src/mcp_bulkhead_*"))
    baseline = "import sys, mcp.server.mcpserver; old = set(sys.modules)"
    asked = f"{baseline}; import {', '.join(packages)}; print(*sorted(set(sys.modules) - old))"
    loaded = run("-c", asked, cwd=tmp_path).split()
    assert packages[0] in loaded
    assert [name for name in loaded if any(f"{name}.".startswith(f"{extra}.") for extra in EXTRAS)] == []
