"""`mcp-bulkhead new` inside the repository: the copy is a member of the house, and no root file is edited by hand."""

import json
from pathlib import Path
from typing import Any


def test_a_copied_server_passes_the_contract_and_the_walls_at_once(copied: Any) -> None:
    copied.run(copied.tool("mcp-bulkhead"), "new", "billing", "--tool-prefix", "bill_")
    copied.install(copied.folder / "servers" / "billing")
    copied.run(copied.tool("mcp-bulkhead"), "docs")

    tools = json.loads((copied.folder / "servers/billing/tools.json").read_text())
    names = [tool["name"] for tool in tools["tools"]]
    assert names and all(name.startswith("bill_") for name in names)
    assert leftovers(copied.folder / "servers/billing") == []
    assert "mcp-bulkhead-billing" in (copied.folder / "README.md").read_text()

    copied.run(copied.tool("python"), "-m", "pytest", "-q", "tests/walls")
    said = copied.run(
        copied.tool("python"),
        "-m",
        "pytest",
        "-q",
        "--pyargs",
        "mcp_bulkhead.testing.contract",
        "--bulkhead-server",
        "billing",
    )
    assert " passed" in said


def leftovers(folder: Path) -> list[str]:
    """Lines that still carry the name of the server that was copied."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".toml", ".md", ".json") and path.is_file():
            found += [
                f"{path}: {line}"
                for line in path.read_text().splitlines()
                if "bulkhead-filesystem" in line or "bulkhead_filesystem" in line
            ]
    return found
