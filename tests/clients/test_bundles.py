"""Desktop clients install a server from a bundle: its manifest is one that the bundles' own tool accepts."""

from pathlib import Path

import pytest

from mcp_bulkhead import installed_specs
from mcp_bulkhead.publish import render

from .parts import REPOSITORY, node, npm_package, run

NAMES = [spec.name for spec in installed_specs()]


@pytest.fixture(scope="module")
def rendered() -> dict[str, str]:
    """Every generated file, as it would be written now; another test compares them with those that are there."""
    return render(REPOSITORY)


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_tool_accepts_the_manifest(name: str, rendered: dict[str, str], tmp_path: Path):
    assert validated(rendered[f"docs/bundles/{name}/manifest.json"], tmp_path) == 0


def test_the_bundle_tool_refuses_what_is_no_manifest(rendered: dict[str, str], tmp_path: Path):
    manifest = rendered[f"docs/bundles/{NAMES[0]}/manifest.json"]
    assert validated(manifest.replace('"server":', '"servant":'), tmp_path) != 0


def validated(manifest: str, folder: Path) -> int:
    path = folder / "manifest.json"
    path.write_text(manifest, encoding="utf-8")
    return run([node(), npm_package("@anthropic-ai/mcpb", "dist/cli/cli.js"), "validate", path]).code
