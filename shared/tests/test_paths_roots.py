"""Which opened folder a typed path means. Text only; whether the path may be opened is the folder's own business."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.path_input import tidy
from mcp_bulkhead.guards.paths import RootFS, Roots

MakeRoots = Callable[..., Roots]


@pytest.fixture
def make_roots(tmp_path: Path) -> Iterator[MakeRoots]:
    made: list[Roots] = []

    def make(*names: str) -> Roots:
        for name in names:
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        made.append(Roots([RootFS(str(tmp_path / name)) for name in names]))
        return made[-1]

    yield make
    for roots in made:
        roots.close()


def found(roots: Roots, path: str) -> tuple[str, str]:
    place = roots.locate(path)
    return place.root.name, place.rel


def refusal(roots: Roots, path: str) -> Failure:
    with pytest.raises(Failure) as failed:
        roots.locate(path)
    assert failed.value.hint
    return failed.value


@pytest.mark.parametrize(
    "path",
    ["file", "sub/file", "..", "../x", "./a", "sub/", "a//b", "%2e%2e", "~", " a ", "'q'", "file:x", "work/x", "é"],
)
def test_with_one_root_a_relative_path_is_taken_as_it_is(make_roots: MakeRoots, path: str):
    place = make_roots("work").locate(path)
    assert (place.root.name, place.rel, place.shown) == ("work", path, path)


@pytest.mark.parametrize(
    ("tail", "rel"),
    [
        ("", ""),
        ("/", ""),
        ("//", ""),
        ("/file", "file"),
        ("//sub//file", "sub/file"),
        ("/sub/", "sub/"),
        ("/./a", "./a"),
        ("/../x", "../x"),
        ("/..", ".."),
        ("/%41", "%41"),
        ("/ ", " "),
    ],
)
def test_an_absolute_path_below_a_root_becomes_relative(make_roots: MakeRoots, tmp_path: Path, tail: str, rel: str):
    assert found(make_roots("work"), f"{tmp_path}/work{tail}") == ("work", rel)


@pytest.mark.parametrize(
    "tail", ["work2", "work2/x", "work'", "work ", "wor", "WORK2", "", "other/../work/x", "%77ork"]
)
def test_an_absolute_path_beside_the_roots_is_outside(make_roots: MakeRoots, tmp_path: Path, tail: str):
    failure = refusal(make_roots("work"), f"{tmp_path}/{tail}")
    assert failure.reason == "outside_root"
    assert f"{tmp_path}/work" in failure.hint


def test_similar_roots_are_told_apart_by_whole_names(make_roots: MakeRoots, tmp_path: Path):
    roots = make_roots("root", "root2", "root'", "root ")
    for name in ("root", "root2", "root'", "root "):
        assert found(roots, f"{tmp_path}/{name}/x") == (name, "x")
        assert found(roots, f"{name}/x") == (name, "x")


def test_the_innermost_root_wins(make_roots: MakeRoots, tmp_path: Path):
    roots = make_roots("work", "work/inner", "other")
    assert found(roots, f"{tmp_path}/work/inner/x") == ("inner", "x")
    assert found(roots, f"{tmp_path}/work/inner2/x") == ("work", "inner2/x")
    assert found(roots, f"{tmp_path}/work/inner") == ("inner", "")


def test_with_several_roots_a_relative_path_starts_with_a_name(make_roots: MakeRoots):
    roots = make_roots("work", "notes")
    assert found(roots, "notes/a/b") == ("notes", "a/b")
    assert found(roots, "./notes//a/") == ("notes", "a/")
    assert found(roots, "notes") == ("notes", "")
    assert found(roots, "notes/") == ("notes", "")
    assert found(roots, "notes//etc/passwd") == ("notes", "etc/passwd")
    assert found(roots, "notes/../work/x") == ("notes", "../work/x")
    for path in ("a/b", ".", "..", "./", "~/x", "Notes/x", "notes2"):
        failure = refusal(roots, path)
        assert failure.reason == "invalid_path"
        assert "work, notes" in failure.hint


def test_what_is_shown_can_be_typed_again(make_roots: MakeRoots):
    roots = make_roots("work", "notes")
    for path in ("notes/a/b", "work", "work/sub/"):
        place = roots.locate(path)
        assert roots.locate(place.shown) == place
    one = make_roots("work")
    assert one.locate(".").shown == "."
    assert one.place(next(iter(one)), "").shown == "."
    assert one.place(next(iter(one)), "a/b").shown == "a/b"


def test_two_roots_of_the_same_name_get_their_own(make_roots: MakeRoots, tmp_path: Path):
    roots = make_roots("a/src", "b/src", "src-2", "c/src")
    assert [root.name for root in roots] == ["src", "src-2", "src-2-2", "src-3"]
    assert len(roots) == 4
    assert roots.locate("src-3/x").root.path == f"{tmp_path}/c/src"


@pytest.mark.parametrize(
    ("uri", "name", "rel"),
    [
        ("file://{}/work/a%20b", "work", "a b"),
        ("FILE://{}/work/a", "work", "a"),
        ("file://localhost{}/work/", "work", ""),
        ("file://LOCALHOST{}/work/a", "work", "a"),
        ("file://{}/work/%2541", "work", "%41"),
        ("file://{}/work/caf%C3%A9", "work", "café"),
        ("file://{}/work/%ff", "work", "\udcff"),
        ("file://{}/work/a#b?c", "work", "a#b?c"),
        ("file://{}/work/%2e%2e/x", "work", "../x"),
        ("file://{}/%77ork/a%2Fb", "work", "a/b"),
    ],
)
def test_a_file_uri_is_decoded_once(make_roots: MakeRoots, tmp_path: Path, uri: str, name: str, rel: str):
    assert found(make_roots("work", "notes"), uri.format(tmp_path)) == (name, rel)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("", "invalid_path"),
        ("a\0b", "invalid_path"),
        ("a\nb", "invalid_path"),
        ("a\x1b[2J", "invalid_path"),
        ("a\x7f", "invalid_path"),
        ("a\x9b", "invalid_path"),
        ("\ud800", "invalid_path"),
        ("a" * 4096, "name_too_long"),
        ("é" * 2048, "name_too_long"),
        ("file://", "invalid_path"),
        ("file://host/share", "invalid_path"),
        ("file://..", "invalid_path"),
        ("file:///a%00b", "invalid_path"),
        ("file:///a%0Ab", "invalid_path"),
        ("file:///", "outside_root"),
        ("file:///etc/passwd", "outside_root"),
        ("/", "outside_root"),
        ("//", "outside_root"),
        ("/etc/passwd", "outside_root"),
    ],
)
def test_what_cannot_be_a_path_here_is_refused(make_roots: MakeRoots, path: str, code: str):
    failure = refusal(make_roots("work"), path)
    assert failure.reason == code
    told = str(failure.as_dict())
    assert "etc" not in told
    assert "\x1b" not in told


def test_a_root_in_the_other_unicode_form_is_found(make_roots: MakeRoots, tmp_path: Path):
    roots = make_roots("caf\u00e9", "plain")
    assert found(roots, f"{tmp_path}/cafe\u0301/x") == ("caf\u00e9", "x")
    assert found(roots, "cafe\u0301/x") == ("caf\u00e9", "x")
    both = make_roots("caf\u00e9", "cafe\u0301")
    assert found(both, "cafe\u0301/x") == ("cafe\u0301", "x")
    assert found(both, f"{tmp_path}/cafe\u0301/x") == ("cafe\u0301", "x")


def test_a_linked_root_is_known_by_both_of_its_paths(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    roots = Roots([RootFS(str(tmp_path / "link"))])
    assert found(roots, f"{tmp_path}/link/x") == ("link", "x")
    assert found(roots, f"{tmp_path}/real/x") == ("link", "x")
    roots.close()


def test_a_long_list_of_roots_is_shortened_in_the_hint(make_roots: MakeRoots):
    failure = refusal(make_roots(*(f"root{number:02}" for number in range(14))), "x/y")
    assert failure.hint.endswith("root09 and 4 more.")


def test_closing_the_roots_closes_each(tmp_path: Path):
    roots = Roots([RootFS(str(tmp_path))])
    roots.close()
    for root in roots:
        with pytest.raises(Failure):
            root.open_dir("")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "...", ".x"]), max_size=8).map("/".join))
def test_a_tidied_path_is_the_normal_one(path: str):
    normal = os.path.normpath(path) if path else "."
    assume(not path.startswith("/") and normal.partition("/")[0] != "..")
    assert tidy(path) == ("" if normal == "." else normal)


# Importing where POSIX names are missing must work: the choice is made when a root is opened.
WITHOUT_POSIX = """
import os, sys
import ctypes, hashlib, pathlib, subprocess, tempfile, urllib.parse
for name in [n for n in dir(os) if n.startswith("O_") and n not in ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_CREAT")]:
    delattr(os, name)
for name in ("pread", "mkfifo", "readlink"):
    delattr(os, name)
import mcp_bulkhead.guards.paths as paths
import mcp_bulkhead.guards.posix_walk, mcp_bulkhead.guards.windows_names, mcp_bulkhead.guards.windows_handles
print(paths.DEFAULT_DENY.matches("a/.env"))
"""


def test_the_modules_import_where_posix_is_missing():
    run = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == ".env*\n", run.stderr
