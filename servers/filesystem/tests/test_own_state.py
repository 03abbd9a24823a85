"""The server's own keys and switches are no files of the model's, although they lie inside an opened folder."""

from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.app import assemble
from mcp_bulkhead.errors import Failure
from mcp_bulkhead.settings import FileSecret, load
from mcp_bulkhead_filesystem import SPEC
from mcp_bulkhead_filesystem.settings import Root, Settings

from .conftest import serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A root with everything a server calls its own inside."""
    keys = tmp_path / "home" / ".local" / "state" / "filesystem" / "audit"
    keys.mkdir(parents=True)
    (keys / "digest.key").write_text("SECRET-KEY")
    home = tmp_path / "home"
    (home / "token").write_text("SECRET-" + "t" * 20)
    (home / "config.toml").write_text("# SECRET\n")
    (home / "stop").write_text("# SECRET\nfs_find\n")
    (home / "shortcut").symlink_to(".local/state/filesystem/audit")
    (home / "pass").symlink_to("token")
    (home / "notes.txt").write_text("open to all")
    return home


def opened(home: Path) -> Any:
    return serving(
        home / ".local" / "state",
        (Root(str(home)),),
        deny=("*.nothing",),
        kill_switch=home / "stop",
        config=home / "config.toml",
        http_token=FileSecret(home / "token"),
    )


@pytest.mark.parametrize(
    "path",
    [
        ".local/state/filesystem/audit/digest.key",
        "shortcut/digest.key",
        "token",
        "pass",
        "config.toml",
        "stop",
    ],
)
async def test_the_servers_own_files_stay_closed_whatever_the_operator_denies(home: Path, path: str):
    async with opened(home) as ask:
        asked = await ask("fs_read", paths=[path])
        assert "SECRET" not in asked.text
        assert "deny rule" in asked.text


async def test_the_servers_own_files_are_not_found_by_a_search(home: Path):
    async with opened(home) as ask:
        found = await ask("fs_grep", pattern="SECRET")
        assert "SECRET-" not in found.text
        assert "# SECRET" not in found.text


async def test_the_files_beside_them_stay_open(home: Path):
    async with opened(home) as ask:
        assert "open to all" in (await ask("fs_read", paths=["notes.txt"])).text


@pytest.mark.parametrize("root", [".local/state", ".local/state/filesystem/audit", "shortcut"])
async def test_a_root_inside_the_state_folder_does_not_start(home: Path, root: str):
    state = home / ".local" / "state"
    settings = load(Settings, server="filesystem", roots=(Root(str(home / root)),), state_dir=state)
    with pytest.raises(Failure) as refused:
        assemble(SPEC, settings)
    assert refused.value.reason == "invalid_root"
    assert "--state-dir" in (refused.value.hint or "")


async def test_a_link_on_the_way_to_the_state_folder_still_leads_to_what_is_beside_it(home: Path):
    (home / "work").symlink_to(".local")
    (home / ".local" / "plan.txt").write_text("open as well")
    async with serving(home / "work" / "state", (Root(str(home)),)) as ask:
        assert "open as well" in (await ask("fs_read", paths=["work/plan.txt"])).text
        assert "SECRET" not in (await ask("fs_read", paths=["work/state/filesystem/audit/digest.key"])).text
