"""`mcp-bulkhead new` far from the repository, with plain pip and the wheels: the copy works and passes the contract."""

import time
from typing import Any

MOST_S = 180


def test_a_server_started_from_an_installed_one_passes_the_contract(outside: Any) -> None:
    begun = time.monotonic()
    outside.run(outside.tool("mcp-bulkhead"), "new", "billing", "--tool-prefix", "bill_", "billing")
    outside.run(
        outside.tool("python"),
        "-m",
        "pip",
        "install",
        "-q",
        "--find-links",
        outside.folder.parent / "dist",
        "./billing",
    )

    shown = outside.run(outside.tool("mcp-bulkhead-billing"), "--check", outside.folder)
    assert "bill_read" in shown and "fs_read" not in shown

    said = outside.run(
        outside.tool("mcp-bulkhead"), "contract", "--bulkhead-server", "billing", "-q", "-p", "no:cacheprovider"
    )
    assert " passed" in said
    assert time.monotonic() - begun < MOST_S
