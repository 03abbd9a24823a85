"""The backend as a whole: what it says of its roots, and how it ends. Its parts have tests of their own beside this."""

from pathlib import Path

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import RootFS, Roots
from mcp_bulkhead_filesystem.backend import Files, Want

pytestmark = pytest.mark.anyio


def over(*folders: Path, writable: bool = False) -> Files:
    return Files(Roots([RootFS(str(folder), writable=writable) for folder in folders]))


async def test_it_tells_each_root_its_mode_and_how_its_paths_are_checked(tree: Path) -> None:
    async with over(tree, writable=True) as files:
        facts = await files.check()
    assert facts["root tree"].startswith(f"{tree} (rw, ")


async def test_a_root_that_was_replaced_since_the_start_is_reported(tree: Path) -> None:
    async with over(tree) as files:
        tree.rename(tree.with_name("moved"))
        tree.mkdir()
        with pytest.raises(Failure) as caught:
            await files.check()
    assert caught.value.reason == "unavailable"


async def test_after_the_end_every_call_fails_instead_of_waiting(tree: Path) -> None:
    (tree / "a.txt").write_text("x")
    files = over(tree)
    async with files:
        await files.read([Want.parse("a.txt")], start=None, lines=None, numbers=False, budget=1000)
    with pytest.raises(Failure):
        await files.read([Want.parse("a.txt")], start=None, lines=None, numbers=False, budget=1000)


async def test_a_mark_is_the_same_for_the_same_text_and_differs_between_servers(tree: Path) -> None:
    one, other = over(tree), over(tree)
    assert one.mark("text") == one.mark("text") != one.mark("texts")
    assert one.mark("text") != other.mark("text")
    one.close()
    other.close()


async def test_a_root_has_an_address_that_leads_back_to_it(tree: Path) -> None:
    odd = tree / "with space#"
    odd.mkdir()
    async with over(odd) as files:
        address = files.uri_of(next(iter(files.roots)))
        (odd / "in.txt").write_text("inside\n")
        opened = await files.open_resource(f"{address}/in.txt")
    assert opened.body == "inside\n"
