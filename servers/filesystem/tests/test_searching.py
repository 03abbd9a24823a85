"""fs_find and fs_grep, as a model uses them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Serve = Callable[..., Any]

pytestmark = pytest.mark.anyio

CURSOR = re.compile(r'cursor="([^"]+)"')


@pytest.fixture
def project(tree: Path) -> Path:
    for name, text in {
        "app.py": "import os\nTIDE = 1\n",
        "src/deep/mod.py": "def tide():\n    return 'Tide'\n",
        "src/notes.md": "the tide is high\n",
        "build/out.py": "TIDE\n",
        ".gitignore": "build/\n",
    }.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "blob.bin").write_bytes(b"\0\1tide\2" * 40)
    return tree


def listed(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("--")]


async def test_a_pattern_without_a_slash_matches_names_at_any_depth(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_find", glob="*.py")
    assert listed(answer.text) == ["app.py", "src/deep/mod.py"]
    assert "1 ignored" in answer.text


async def test_ignored_files_are_found_when_asked_for(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_find", glob="*.py", ignored=True)
    assert "build/out.py" in listed(answer.text)


async def test_kinds_can_be_chosen(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_find", glob="**", type="dir")
    assert {line.rstrip("/") for line in listed(answer.text)} == {"src", "src/deep"}


async def test_braces_mean_alternatives(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_find", glob="src/**/*.{md,py}")
    assert sorted(listed(answer.text)) == ["src/deep/mod.py", "src/notes.md"]


async def test_pages_of_a_search_join_to_the_whole(tree: Path, serve: Serve) -> None:
    for number in range(45):
        (tree / f"d{number % 5}").mkdir(exist_ok=True)
        (tree / f"d{number % 5}" / f"f{number:02}.txt").write_text("needle\n")
    async with serve() as ask:
        for tool, first in (("fs_find", {"glob": "*.txt"}), ("fs_grep", {"pattern": "needle", "mode": "files"})):
            arguments: dict[str, Any] = dict(first, limit=7)
            seen: list[str] = []
            for _ in range(20):
                answer = await ask(tool, **arguments)
                seen += [line.split(":")[0] for line in listed(answer.text)]
                cursor = CURSOR.search(answer.text)
                if cursor is None:
                    break
                arguments["cursor"] = cursor.group(1)
            assert len(seen) == len(set(seen)) == 45, tool


async def test_matches_are_shown_with_path_and_line(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_grep", pattern=r"def \w+")
    assert "src/deep/mod.py:1: def tide():" in answer.text


async def test_case_can_be_ignored_and_binaries_are_counted(project: Path, serve: Serve) -> None:
    async with serve() as ask:
        answer = await ask("fs_grep", pattern="tide", ignore_case=True, mode="files")
    assert set(listed(answer.text)) == {"app.py", "src/deep/mod.py", "src/notes.md"}
    assert "1 binary" in answer.text


async def test_literal_takes_the_pattern_as_text(project: Path, serve: Serve) -> None:
    (project / "expr.txt").write_text("a.b(c)\nacb\n")
    async with serve() as ask:
        answer = await ask("fs_grep", pattern="a.b(", literal=True)
        broken = await ask("fs_grep", pattern="a.b(")
    assert "expr.txt:1: a.b(c)" in answer.text
    assert broken.error is not None and broken.error["hint"]


async def test_a_catastrophic_pattern_costs_no_more_than_the_deadline(tree: Path, serve: Serve) -> None:
    (tree / "evil.txt").write_text("a" * 40 + "!\n")
    async with serve(search_s=2.0) as ask:
        answer = await ask("fs_grep", pattern="(a+)+$")
        after = await ask("fs_read", paths=["evil.txt"])
    assert answer.error is None or answer.code in ("timeout", "invalid_pattern")
    assert after.error is None


async def test_context_lines_surround_a_match(tree: Path, serve: Serve) -> None:
    (tree / "t.txt").write_text("one\ntwo\nthree\nfour\nfive\n")
    async with serve() as ask:
        answer = await ask("fs_grep", pattern="three", context=1)
    assert [word for word in ("one", "two", "three", "four", "five") if word in answer.text] == ["two", "three", "four"]


async def test_what_the_guard_refuses_is_not_searched(project: Path, tmp_path: Path, serve: Serve) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "loot.txt").write_text("needle\n")
    (project / "door").symlink_to(outside)
    (project / ".env").write_text("needle\n")
    async with serve() as ask:
        answer = await ask("fs_grep", pattern="needle")
    assert listed(answer.text) == []
    assert "1 denied" in answer.text


async def test_a_count_that_ran_out_of_time_is_told_once_and_not_begun_again(tree: Path, serve: Serve) -> None:
    with (tree / "big.log").open("w") as file:
        for _ in range(60):
            file.write("an eel in the sea\n" * 100_000)
    async with serve(search_s=0.3) as ask:
        answer = await ask("fs_grep", pattern="e", path="big.log", mode="count")
    assert "or more" in answer.text
    assert CURSOR.search(answer.text) is None
