"""Listing and finding: what is shown, what is passed over, pages that fit together, names that come back."""

import asyncio
import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import BadCursor, Failure, Invalid, NotAllowed, Unavailable
from mcp_bulkhead.guards.paths import OpenedDir, RootFS, Roots
from mcp_bulkhead_filesystem.backend import Files, Found, Listing, TextPiece, Want, workers
from mcp_bulkhead_filesystem.backend.globs import Glob
from mcp_bulkhead_filesystem.backend.names import named, visible

T = TypeVar("T", Found, Listing)
ROOM = 100_000


@contextmanager
def opened(*folders: Path, respect_gitignore: bool = True) -> Generator[Files]:
    roots = Roots([RootFS(str(folder)) for folder in folders])
    files = Files(roots, threads=2, respect_gitignore=respect_gitignore)
    try:
        yield files
    finally:
        files.close()
        roots.close()


def find(files: Files, glob: str = "**", **more: Any) -> Found:
    asked: dict[str, Any] = {
        "path": None,
        "kind": None,
        "ignored": False,
        "limit": 10_000,
        "after": None,
        "budget": ROOM,
    } | more
    return asyncio.run(files.find(glob, **asked))


def tree(files: Files, path: str | None = None, **more: Any) -> Listing:
    asked: dict[str, Any] = {"depth": 20, "ignored": False, "limit": 10_000, "after": None, "budget": ROOM} | more
    return asyncio.run(files.list(path, **asked))


def pages(ask: Callable[[Any], T]) -> list[T]:
    """Every page, each continued from the position of the one before, as it looks after a trip through JSON."""
    answers: list[T] = []
    after: Any = None
    while not answers or after is not None:
        answers.append(ask(after))
        after = json.loads(json.dumps(answers[-1].next))
        assert len(answers) < 2_000
    return answers


def make(folder: Path, *paths: str, text: str = "x\n") -> None:
    for path in paths:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.mkdir() if path.endswith("/") else target.write_text(text)


def random_tree(folder: Path, seed: int, count: int) -> None:
    """Folders and files with names that sort badly: prefixes of each other, with signs around the slash."""
    choose = random.Random(seed)
    for _ in range(count):
        parts = [choose.choice(["a", "a.b", "a-", "b", "B", "ab", "a b", "é", "\udce9", "0"]) for _ in range(4)]
        path = folder.joinpath(*parts[: choose.randint(1, 4)])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if choose.random() < 0.2:
                path.mkdir(exist_ok=True)
            elif not path.exists():
                path.touch()
        except (FileExistsError, NotADirectoryError):
            continue


# --- list


def test_a_listing_is_a_tree_with_folders_first_sizes_and_marks(tmp_path: Path):
    root = tmp_path / "root"
    make(root, "b.txt", "src/deep/x.py", "src/main.py", ".env", "empty/")
    make(tmp_path, "outside.txt")
    (root / "in").symlink_to("b.txt")
    (root / "out").symlink_to(tmp_path / "outside.txt")
    (root / "gone").symlink_to("nowhere")
    (root / "secret").symlink_to(".env")
    os.mkfifo(root / "pipe")
    with opened(root) as files:
        answer = tree(files, str(root))
    assert answer.text.splitlines() == [
        "== ./  ro",
        "empty/",
        "src/",
        "  deep/",
        "    x.py  2 B",
        "  main.py  2 B",
        ".env  (denied)",
        "b.txt  2 B",
        "gone -> (broken)",
        "in -> b.txt",
        "out -> (outside)",
        "pipe  (pipe)",
        "secret -> (denied)",
    ]
    assert str(tmp_path / "outside.txt") not in answer.text


def test_no_path_shows_the_roots_and_how_they_are_open(tmp_path: Path):
    make(tmp_path, "one/a", "two/b")
    roots = Roots([RootFS(str(tmp_path / "one")), RootFS(str(tmp_path / "two"), writable=True)])
    files = Files(roots, threads=1)
    assert tree(files).text == f"== one/  ro  {tmp_path}/one\n== two/  rw  {tmp_path}/two\n"
    assert "a  2 B" in tree(files, "one").text
    files.close()
    roots.close()


def test_a_file_is_listed_as_its_facts(tmp_path: Path):
    make(tmp_path, "a.txt", ".env")
    os.utime(tmp_path / "a.txt", (0, 0))
    (tmp_path / "link").symlink_to("a.txt")
    with opened(tmp_path) as files:
        line = tree(files, "a.txt").text
        assert line.startswith("== a.txt  2 bytes  modified 1970-01-01T00:00:00Z  -rw")
        assert "etag=" in line
        assert tree(files, ".env").text == "== .env  (denied)\n"
        with pytest.raises(Failure) as caught:
            tree(files, "nowhere")
        assert caught.value.reason == "not_found"


def test_depth_stops_at_folders(tmp_path: Path):
    make(tmp_path, "a/b/c/d")
    with opened(tmp_path) as files:
        assert [row.path for row in tree(files, depth=2).rows] == ["a", "a/b"]


@pytest.mark.parametrize("limit", [1, 2, 7])
@pytest.mark.parametrize("depth", [1, 2, 20])
def test_pages_of_a_listing_are_the_whole_listing(tmp_path: Path, limit: int, depth: int):
    random_tree(tmp_path, 5, 150)
    with opened(tmp_path) as files:
        whole = tree(files, depth=depth)
        parts = pages(lambda after: tree(files, depth=depth, limit=limit, after=after))
    assert whole.next is None and len(whole.rows) > 5
    assert [row for part in parts for row in part.rows] == whole.rows


def test_a_continued_listing_says_where_it_is(tmp_path: Path):
    make(tmp_path, "a/b/one", "a/b/two", "a/three")
    with opened(tmp_path) as files:
        first = tree(files, limit=3)
        second = tree(files, limit=3, after=first.next)
    assert first.text.splitlines()[-3:] == ["a/", "  b/", "    one  2 B"]
    assert second.text.splitlines()[-4:] == ["a/  (continued)", "  b/  (continued)", "    two  2 B", "  three  2 B"]


def test_a_page_ends_at_its_budget(tmp_path: Path):
    make(tmp_path, *(f"file-{n:04d}" for n in range(500)))
    with opened(tmp_path) as files:
        parts = pages(lambda after: tree(files, budget=2_000, after=after))
    assert all(len(part.text) <= 2_000 for part in parts)
    assert sum(len(part.rows) for part in parts) == 500


# --- find


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_pages_of_a_find_are_the_whole_find(tmp_path: Path, limit: int):
    random_tree(tmp_path, 6, 150)
    with opened(tmp_path) as files:
        whole = find(files)
        parts = pages(lambda after: find(files, limit=limit, after=after))
    found = [path for part in parts for path in part.paths]
    assert found == whole.paths
    assert len(found) == len(set(found)) == sum(len(names) + len(dirs) for _, dirs, names in os.walk(tmp_path))


def test_a_continuation_survives_the_loss_of_the_file_it_names(tmp_path: Path):
    make(tmp_path, "a", "b/c", "b/d", "e/f")
    with opened(tmp_path) as files:
        first = find(files, kind="file", limit=2)
        (tmp_path / "b/c").unlink()
        (tmp_path / "b/d").unlink()
        (tmp_path / "b").rmdir()
        assert first.paths == ["a", "b/c"]
        assert find(files, kind="file", after=first.next).paths == ["e/f"]


def test_finding_and_listing_with_no_time_at_all_get_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    random_tree(tmp_path, 7, 60)
    with opened(tmp_path) as files:
        found, listed = find(files), tree(files)
        monkeypatch.setattr(workers, "SOFT_SHARE", 0.0)
        found_parts = pages(lambda after: find(files, after=after))
        listed_parts = pages(lambda after: tree(files, after=after))
    assert len(found_parts) > 3
    assert "-- time is up after" in found_parts[0].text
    assert [path for part in found_parts for path in part.paths] == found.paths
    assert [row for part in listed_parts for row in part.rows] == listed.rows
    assert listed_parts[0].late


def test_a_folder_that_cannot_be_read_is_counted_and_the_rest_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A fault that a test running as root cannot make the file system show."""
    make(tmp_path, "good/a", "bad/b", "shut/c")
    real = RootFS.open_dir

    def open_dir(root: RootFS, rel: str) -> OpenedDir:
        if rel == "bad":
            raise Unavailable("The storage does not answer.")
        if rel == "shut":
            raise NotAllowed("A rule keeps it closed.", code="denied")
        return real(root, rel)

    monkeypatch.setattr(RootFS, "open_dir", open_dir)
    with opened(tmp_path) as files:
        assert find(files, kind="file").text == "good/a\n-- skipped: 1 denied, 1 unreadable\n"
        assert tree(files).text.endswith("bad/\ngood/\n  a  2 B\nshut/\n-- skipped: 1 denied, 1 unreadable\n")


@pytest.mark.parametrize(
    "after", ["x", [], ["root"], ["elsewhere", "a", 0, 0], [1, 2, 3, 4], ["root", "a", 2, 0], ["root", "a", 0, -1]]
)
def test_a_position_of_the_wrong_shape_is_a_bad_cursor(tmp_path: Path, after: Any):
    make(tmp_path, "root/a")
    with opened(tmp_path / "root") as files, pytest.raises(BadCursor):
        find(files, after=after)


def test_a_position_for_another_folder_is_a_bad_cursor(tmp_path: Path):
    make(tmp_path, "root/a/x", "root/a/y", "root/b/z")
    with opened(tmp_path / "root") as files, pytest.raises(BadCursor):
        find(files, path="b", after=find(files, path="a", limit=1).next)


def test_several_roots_are_searched_in_turn_and_named(tmp_path: Path):
    make(tmp_path, "one/a", "one/b", "two/c")
    with opened(tmp_path / "one", tmp_path / "two") as files:
        assert find(files).paths == ["one/a", "one/b", "two/c"]
        parts = pages(lambda after: find(files, limit=1, after=after))
        assert [part.paths for part in parts] == [["one/a"], ["one/b"], ["two/c"]]


def test_what_is_not_shown_is_counted(tmp_path: Path):
    make(tmp_path, ".gitignore", "keep", "a.log", "b.log", ".env", "shut/x", text="*.log\n")
    (tmp_path / "link").symlink_to("keep")
    with opened(tmp_path) as files:
        answer = find(files, kind="file")
        assert answer.paths == [".gitignore", "keep", "shut/x"]
        assert "skipped: 2 ignored, 1 denied" in answer.text
        assert find(files, kind="link").paths == ["link"]
        assert find(files, kind="dir").paths == ["shut/"]
        assert "a.log" in find(files, ignored=True).paths
    with opened(tmp_path, respect_gitignore=False) as files:
        assert "a.log" in find(files).paths


def test_a_folder_replaced_by_a_link_is_not_followed(tmp_path: Path):
    make(tmp_path, "root/a/x", "root/real/y")
    (tmp_path / "root/loop").symlink_to(".")
    (tmp_path / "root/alias").symlink_to("real")
    with opened(tmp_path / "root") as files:
        assert find(files, kind="file").paths == ["a/x", "real/y"]
        assert find(files, path="alias").paths == ["real/y"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.py", ["top.py", "src/a.py", "src/deep/b.py"]),
        ("**/*.py", ["top.py", "src/a.py", "src/deep/b.py"]),
        ("/*.py", ["top.py"]),
        ("src/*.py", ["src/a.py"]),
        ("./src/*.py", ["src/a.py"]),
        ("src/**", ["src/a.py", "src/n.md", "src/deep/", "src/deep/b.py"]),
        ("src/**/*.py", ["src/a.py", "src/deep/b.py"]),
        ("**/deep/*", ["src/deep/b.py"]),
        ("*.{md,py}", ["top.py", "src/a.py", "src/n.md", "src/deep/b.py"]),
        ("{src/*.md,top.*}", ["top.py", "src/n.md"]),
        ("[!t]*.py", ["src/a.py", "src/deep/b.py"]),
        ("?.py", ["src/a.py", "src/deep/b.py"]),
        ("*.PY", []),
        ("deep/", ["src/deep/"]),
        ("[", ["["]),
        ("{", ["{"]),
    ],
)
def test_globs(tmp_path: Path, glob: str, expected: list[str]):
    make(tmp_path, "top.py", "src/a.py", "src/n.md", "src/deep/b.py", "[", "{")
    with opened(tmp_path) as files:
        assert find(files, glob).paths == expected


def test_a_file_is_no_place_to_find_things_in(tmp_path: Path):
    make(tmp_path, "f")
    with opened(tmp_path) as files, pytest.raises(Invalid) as caught:
        find(files, path="f")
    assert caught.value.reason == "not_dir"


@pytest.mark.parametrize("glob", ["", "/", "../x", "a/../b", "x" * 1_001, "{a,b}" * 7])
def test_globs_that_cannot_be_are_refused(glob: str):
    with pytest.raises(Invalid) as caught:
        Glob(glob)
    assert caught.value.details["field"] == "glob"


@pytest.mark.parametrize(
    "glob", ["*a" * 40 + "b", "**/" * 30 + "b", "*a*/" * 20 + "b", "**/a*/" * 20 + "b", "[a-z]*" * 60 + "!"]
)
def test_no_glob_blows_up(glob: str):
    name = "a" * 255
    path = "/".join(["a" * 40] * 40)
    started = time.perf_counter()
    compiled = Glob(glob)
    for _ in range(20):
        compiled.matches(name, path)
        compiled.matches(name, name)
    assert time.perf_counter() - started < 0.5


@settings(max_examples=300, deadline=None)
@given(st.text("ab*?/", min_size=1, max_size=9), st.text("ab/", min_size=1, max_size=9))
@example("a**b", "a/b")
@example("**/a/**/b", "a/a/b")
def test_a_glob_agrees_with_the_textbook(pattern: str, path: str):
    parts, names = pattern.strip("/").split("/"), path.split("/")
    if not pattern.strip("/") or pattern.endswith("/") or "" in parts or "" in names:
        return
    tied = "/" in pattern and not (len(parts) == 2 and set(parts[0]) == {"*"} and parts[0] == "**")
    expected = _textbook(parts, names) if tied else _textbook(parts[-1:], names[-1:])
    assert Glob(pattern).matches(names[-1], path) is expected


def _textbook(parts: list[str], names: list[str]) -> bool:
    """The definition, tried in every way there is."""
    if not parts:
        return not names
    if len(parts[0]) > 1 and not parts[0].strip("*"):
        if len(parts) == 1:
            return bool(names)
        return any(_textbook(parts[1:], names[count:]) for count in range(len(names) + 1))
    return bool(names) and _one(parts[0], names[0]) and _textbook(parts[1:], names[1:])


def _one(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_one(pattern[1:], name[count:]) for count in range(len(name) + 1))
    return bool(name) and pattern[0] in ("?", name[0]) and _one(pattern[1:], name[1:])


# --- .gitignore, against git itself

GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "HOME": os.devnull,
    "PATH": os.environ["PATH"],
}
PART = st.sampled_from(["a", "b", "ab", "a.o", "*", "*.o", "a*", "*b", "?", "[ab]", "[!a]", "**", "a?", r"\a", "*a*b"])
PATTERN = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(PART, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "", "/", "/*", "/**"]),
    st.sampled_from(["", "", " ", "\r", r"\ "]),
)
ODD = st.sampled_from(
    ["", "#a", r"\#a", r"\!b", "[", "a\\", "**", "/", "!", "[[:alpha:]]", "[]a]", "[a-]", r"[\]b]", "***/a"]
)
IGNORE_FILE = st.lists(PATTERN | ODD, max_size=5).map("\n".join)
NAMES = ["a", "b", "ab", "a.o", "bb.o", "#a", "!b", "a "]
PATHS = st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join), min_size=1, max_size=14)


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=GIT_ENV, check=True, capture_output=True, timeout=20
    ).stdout


def compare_with_git(paths: list[str], ignores: dict[str, str], exclude: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        git(folder, "init", "-q", ".")
        for path in paths:
            try:
                make(folder, path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
        for place, text in ignores.items():
            if (folder / place).is_dir():
                (folder / place / ".gitignore").write_text(text, newline="")
        (folder / ".git/info/exclude").write_text(exclude, newline="")
        listed = git(folder, "ls-files", "-o", "--exclude-standard", "-z")
        expected = sorted(os.fsdecode(path) for path in listed.split(b"\0") if path)
        with opened(folder) as files:
            found = sorted(find(files, kind="file").paths)
            shown = sorted(row.path for row in tree(files).rows if row.kind == "file")
        assert found == expected
        assert shown == expected


IGNORES = st.dictionaries(st.sampled_from(["", "a", "b", "a/b", "ab"]), IGNORE_FILE, max_size=3)


@settings(max_examples=80, deadline=None)
@given(PATHS, IGNORES, st.just("") | IGNORE_FILE)
@example(["a/b/c", "a/x"], {"": "a/*\n!a/b/"}, "")
@example(["a/keep.o", "b.o"], {"": "*.o", "a": "!keep.o"}, "")
@example(["a.o", "b"], {"": "!a.o"}, "*.o\nb")
def test_ignoring_is_what_git_does(paths: list[str], ignores: dict[str, str], exclude: str):
    compare_with_git(paths, ignores, exclude)


@pytest.mark.long
@settings(max_examples=1_000, deadline=None)
@given(PATHS, IGNORES, st.just("") | IGNORE_FILE)
def test_ignoring_is_what_git_does_at_length(paths: list[str], ignores: dict[str, str], exclude: str):
    compare_with_git(paths, ignores, exclude)


def test_a_repository_inside_is_not_ruled_by_the_one_around_it(tmp_path: Path):
    make(tmp_path, "inner/a.o", "outer.o", "x.o/y")
    (tmp_path / ".gitignore").write_text("*.o\n")
    git(tmp_path / "inner", "init", "-q", ".")
    with opened(tmp_path) as files:
        assert find(files, kind="file").paths == [".gitignore", "inner/a.o"]
        assert find(files, path="x.o", kind="file").paths == ["x.o/y"]


def test_the_git_folder_is_never_walked_but_can_be_named(tmp_path: Path):
    git(tmp_path, "init", "-q", ".")
    with opened(tmp_path) as files:
        assert not [path for path in find(files, ignored=True).paths if path.startswith(".git/")]
        assert ".git/" in tree(files, depth=1, ignored=True).text
        assert "HEAD" in tree(files, ".git", ignored=True, depth=1).text


def test_an_ignore_file_that_is_a_link_is_not_read(tmp_path: Path):
    make(tmp_path, "root/a.log")
    (tmp_path / "rules").write_text("*.log\n")
    (tmp_path / "root/.gitignore").symlink_to(tmp_path / "rules")
    with opened(tmp_path / "root") as files:
        assert find(files, kind="file").paths == ["a.log"]


# --- names

HOSTILE = [
    "two\nlines",
    "x\n-- skipped: nothing",
    "tab\there",
    "caf\udce9.txt",
    "bidi\u202etxt.exe",
    "zero\u200bwidth",
    r"back\xe9slash",
    r"back\slash",
    "no\u00a0break",
    "\u3000wide",
    "\x7f",
    "nfd e\u0301",
    "family \U0001f468\u200d\U0001f469\u200d\U0001f467",
    " lead and trail ",
    "#L5",
    "file:",
    "~",
    "%2e%2e",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_listed_name_can_be_sent_back(tmp_path: Path, name: str):
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / name).write_text("this very file\n")
    (folder / "other").write_text("another\n")
    with opened(folder) as files:
        listed = next(row.path for row in tree(files).rows if row.path != "other")
        found = next(path for path in find(files).paths if path != "other")
        (piece,) = asyncio.run(files.read([Want.parse(listed)], start=None, lines=None, numbers=False, budget=9_000))
    assert listed == found
    assert isinstance(piece, TextPiece) and piece.body == "this very file\n"
    assert "\n" not in listed
    listed.encode()


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12) | st.binary(max_size=12).map(os.fsdecode) | st.text("\\x5ce9", max_size=12))
def test_the_shown_form_of_a_name_is_reversible_and_clean(name: str):
    try:
        assume(b"\0" not in os.fsencode(name))
    except UnicodeEncodeError:
        return  # half a character: no file is called so
    from mcp_bulkhead.guards.text import clean

    assert named(visible(name)) == name
    assert clean(visible(name)).text == visible(name)
    assert "\n" not in visible(name)


def test_a_name_with_an_escape_in_it_can_also_be_typed_as_it_is(tmp_path: Path):
    make(tmp_path, r"unit\x2dname.service")
    with opened(tmp_path) as files:
        assert tree(files).rows[0].path == r"unit\x5cx2dname.service"
        wants = [Want.parse(r"unit\x2dname.service")]
        (piece,) = asyncio.run(files.read(wants, start=None, lines=None, numbers=False, budget=9_000))
        assert isinstance(piece, TextPiece) and piece.body == "x\n"


def test_an_escape_cannot_climb_out(tmp_path: Path):
    make(tmp_path, "root/a", "secret")
    with opened(tmp_path / "root") as files:
        for path in (r"\x2e\x2e/secret", r"..\x2fsecret", r"\x00", r"a\x2f..\x2f..\x2fsecret"):
            with pytest.raises(Failure):
                asyncio.run(files.read([Want.parse(path)], start=None, lines=None, numbers=False, budget=9_000))


def complete(files: Files, prefix: str) -> list[str]:
    return asyncio.run(files.complete_path(prefix))


def test_paths_are_completed_without_the_denied_ones(tmp_path: Path):
    make(tmp_path, "root/src/a.py", "root/src/b/", "root/.env", "root/setup", "two/x")
    with opened(tmp_path / "root") as files:
        assert complete(files, "") == ["setup", "src/"]
        assert complete(files, "s") == ["setup", "src/"]
        assert complete(files, "src/") == ["src/a.py", "src/b/"]
        assert complete(files, "nowhere/x") == []
    with opened(tmp_path / "root", tmp_path / "two") as files:
        assert complete(files, "") == ["root/", "two/"]
        assert complete(files, "root/se") == ["root/setup"]
