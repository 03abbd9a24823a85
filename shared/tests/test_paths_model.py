"""Random trees and random paths against a resolver that only knows the tree, never the file system."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.root_handle import RootHandle

WAYS = ["openat2", "walk", "bare walk"] if sys.platform == "linux" else ["bare walk"]

Tree = dict[str, "Node"]
Link = tuple[str, str]
Node = Tree | Link | bytes
Answer = tuple[str, str]

ROOT = "{root}"
"""Stands for the root's absolute path until the tree is built."""


class Stop(Exception):  # noqa: N818 - an answer, not an error
    """The code with which a path must be refused."""


def resolve(tree: Tree, path: str, *, follow_last: bool) -> tuple[Node, str]:
    """What a path means in a tree, by the book (path_resolution(7)), except that leaving the root is refused."""
    trail: list[tuple[str, Tree]] = []
    here: Node = tree
    todo = parts_of(link_target(path)[1])
    links = 0
    while todo:
        part = todo.pop(0)
        if not isinstance(here, dict):
            raise Stop("not_dir")
        if part == "..":
            here = parent(trail)
        elif part != ".":
            node = here.get(part)
            if node is None:
                raise Stop("not_found")
            if isinstance(node, tuple) and (todo or follow_last):
                links += 1
                if links > 40:
                    raise Stop("too_many_links")
                from_root, target = link_target(node[1])
                if from_root:
                    trail, here = [], tree
                todo = parts_of(target) + todo
            else:
                trail.append((part, here))
                here = node
    return here, "/".join(name for name, _ in trail)


def parent(trail: list[tuple[str, Tree]]) -> Tree:
    if not trail:
        raise Stop("outside_root")
    return trail.pop()[1]


def link_target(target: str) -> tuple[bool, str]:
    """Whether a target starts at the root, and what is left of it then."""
    if target.partition("/")[0] == ROOT:
        return True, target.removeprefix(ROOT)
    if target.startswith(("/", ROOT)):
        raise Stop("outside_root")
    return False, target


def parts_of(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return [*parts, "."] if path.endswith("/") else parts


def expected_file(tree: Tree, path: str) -> Answer:
    try:
        node, rel = resolve(tree, path, follow_last=True)
    except Stop as stop:
        return "refused", str(stop)
    if isinstance(node, dict):
        return "refused", "is_dir"
    return ("refused", "denied") if ".env" in rel.split("/") else ("read", rel)


def expected_dir(tree: Tree, path: str) -> Answer:
    try:
        node, rel = resolve(tree, path, follow_last=True)
    except Stop as stop:
        return "refused", str(stop)
    if not isinstance(node, dict):
        return "refused", "not_dir"
    return ("refused", "denied") if ".env" in rel.split("/") else ("listed", f"{rel}:{sorted(node)}")


def expected_stat(tree: Tree, path: str) -> Answer:
    try:
        node, rel = resolve(tree, path, follow_last=False)
    except Stop as stop:
        return "refused", str(stop)
    kind = "dir" if isinstance(node, dict) else "link" if isinstance(node, tuple) else "file"
    return kind, rel.rpartition("/")[2] or "root"


def answer(call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except Failure as failure:
        return "refused", failure.reason


def found_file(root: RootFS, path: str) -> Answer:
    with root.open_file(path) as opened:
        assert opened.pread(1000, 0) == b"INSIDE"
        return "read", opened.rel


def found_dir(root: RootFS, path: str) -> Answer:
    with root.open_dir(path) as opened:
        return "listed", f"{opened.rel}:{sorted(name for name, _ in opened.names())}"


def found_stat(root: RootFS, path: str) -> Answer:
    entry = root.stat(path)
    return entry.kind.value, entry.name


def join(parts: list[str], slash: str) -> str:
    return "/".join(parts) + slash


def link(target: str) -> Node:
    return "link", target


steps = st.sampled_from(["a", "b", "a", "b", "a", "b", "c", ".env", "..", "..", ".", "", "secret", "outside", "root"])
paths = st.builds(join, st.lists(steps, max_size=6), st.sampled_from(["", "", "/"]))
relative = paths.map(lambda path: path.lstrip("/") or ".")
outward = st.sampled_from(
    ["../outside/secret", "../outside", "../../outside", "/etc/passwd", "/", ROOT, f"{ROOT}2", ".."]
)
targets = st.one_of(relative, relative.map(lambda path: f"{ROOT}/{path}"), outward)
leaves: st.SearchStrategy[Node] = st.one_of(st.just(b"INSIDE"), targets.map(link))


def folders(below: st.SearchStrategy[Node]) -> st.SearchStrategy[Tree]:
    return st.fixed_dictionaries({"a": below, "b": below}, optional={"c": below, ".env": below})


# Three levels, dense: most random paths then meet something.
trees: st.SearchStrategy[Tree] = folders(st.one_of(leaves, folders(st.one_of(leaves, leaves, folders(leaves)))))


def build(tree: Tree, at: Path, root: Path) -> None:
    at.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            build(node, at / name, root)
        elif isinstance(node, tuple):
            (at / name).symlink_to(node[1].replace(ROOT, str(root)))
        else:
            (at / name).write_bytes(node)


def worth_trying(tree: Tree, above: str = "") -> Iterator[str]:
    """Every node by its own path, and beyond every link: random paths alone meet too few of them."""
    for name, node in tree.items():
        yield above + name
        if isinstance(node, dict):
            yield from worth_trying(node, f"{above}{name}/")
        elif isinstance(node, tuple):
            yield from (f"{above}{name}{rest}" for rest in ("/", "/a", "/b/..", "/../b"))


def compare(tree: Tree, random: list[str]) -> None:
    """Every way of opening gives exactly the model's answer: same file, same folder, or the same refusal."""
    tried = [*worth_trying(tree), *random]
    place = Path(tempfile.mkdtemp())
    (place / "outside").mkdir()
    (place / "outside" / "secret").write_text("OUTSIDE")
    (place / "root2").write_text("OUTSIDE")
    build(tree, place / "root", place / "root")
    try:
        for way in WAYS:
            with pytest.MonkeyPatch.context() as patch:
                if way == "bare walk":
                    patch.setattr(RootHandle, "can_reopen", cannot_reopen)
                root = RootFS(str(place / "root"), method=cast("Method", way.removeprefix("bare ")))
            for path in tried:
                assert answer(lambda path=path, root=root: found_file(root, path)) == expected_file(tree, path), (
                    way,
                    path,
                )
                assert answer(lambda path=path, root=root: found_dir(root, path)) == expected_dir(tree, path), (
                    way,
                    path,
                )
                assert answer(lambda path=path, root=root: found_stat(root, path)) == expected_stat(tree, path), (
                    way,
                    path,
                )
            root.close()
    finally:
        shutil.rmtree(place)


def cannot_reopen(_handle: RootHandle) -> bool:
    return False


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.lists(paths, max_size=15))
def test_a_path_resolves_as_the_model_says(tree: Tree, random: list[str]):
    compare(tree, random)


@pytest.mark.long
@settings(max_examples=5_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.lists(paths, max_size=15))
def test_a_path_resolves_as_the_model_says_for_long(tree: Tree, random: list[str]):
    compare(tree, random)


def test_the_model_sees_links_that_leave_and_come_back():
    """The model is only worth something if it knows the cases that matter."""
    tree: Tree = {
        "a": ("link", f"{ROOT}/b/.."),
        "b": {"c": ("link", "../../root/x")},
        "x": b"INSIDE",
        "l": ("link", "l"),
    }
    assert expected_file(tree, "a/x") == ("read", "x")
    assert expected_file(tree, "b/c") == ("refused", "outside_root")
    assert expected_file(tree, "l") == ("refused", "too_many_links")
    assert expected_dir(tree, "a/a/b") == ("listed", "b:['c']")
    assert expected_stat(tree, "b/c") == ("link", "c")
    assert expected_stat(tree, "x/") == ("refused", "not_dir")
