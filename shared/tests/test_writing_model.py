"""Random changes against a model of a folder that is only a dictionary: the same tree after every step, and no more."""

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.copying import copy
from mcp_bulkhead.guards.deleting import delete
from mcp_bulkhead.guards.deny import DEFAULT_DENY
from mcp_bulkhead.guards.moving import move
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.reserved import TRASH
from mcp_bulkhead.guards.writing import Writer

NAMES = st.sampled_from(["a", "b", "é", ".kube", "config", ".env"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
BYTES = st.binary(max_size=5)

Tree = dict[str, bytes | None]
"""By path: the content of a file, or None for a folder."""


class Folder(RuleBasedStateMachine):
    method: ClassVar[Method] = "auto"

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.root = RootFS(str(self.home), writable=True, method=self.method)
        self.writer = Writer(self.root, fsync=False)
        self.tree: Tree = {}

    def teardown(self) -> None:
        if hasattr(self, "root"):
            self.root.close()
            shutil.rmtree(self.home)

    @invariant()
    def the_tree_is_what_the_model_says(self) -> None:
        if not hasattr(self, "home"):
            return
        found = {
            str(path.relative_to(self.home)): None if path.is_dir() else path.read_bytes()
            for path in self.home.rglob("*")
            if TRASH not in path.parts
        }
        assert found == self.tree

    @rule(path=PATHS, content=BYTES)
    def write(self, path: str, content: bytes) -> None:
        def act() -> None:
            with self.writer.open(path) as target:
                target.put(content)

        if self.done(act, self.may_hold(path) and self.tree.get(path, b"") is not None):
            self.tree[path] = content

    @rule(path=PATHS, content=BYTES)
    def append(self, path: str, content: bytes) -> None:
        def act() -> None:
            with self.writer.open(path) as target:
                target.append(content)

        before = self.tree.get(path, b"")
        if self.done(act, self.may_hold(path) and before is not None):
            self.tree[path] = (before or b"") + content

    @rule(path=PATHS, parents=st.booleans())
    def mkdir(self, path: str, parents: bool) -> None:
        above = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 2)]
        if parents:
            possible = all(self.allowed(one) and self.tree.get(one, None) is None for one in above)
            if self.done(lambda: self.writer.make_all(path), possible):
                self.tree.update(dict.fromkeys(above))
        elif self.done(lambda: self.writer.mkdir(path), self.may_hold(path) and path not in self.tree):
            self.tree[path] = None

    @rule(path=PATHS, to=PATHS, replace=st.booleans())
    def move(self, path: str, to: str, replace: bool) -> None:
        inside = self.below(path)
        same_closed = all(self.allowed(path + one) == self.allowed(to + one) for one in inside)
        possible = (
            path in self.tree
            and self.allowed(path)
            and self.may_hold(to)
            and same_closed
            and self.free(path, to, replace)
            and not (f"{to}/".startswith(f"{path}/") and not (replace and to == path))
        )
        if self.done(lambda: move(self.writer, path, self.writer, to, replace=replace), possible):
            moved = {to + one: self.tree.pop(path + one) for one in inside}
            self.tree.update(moved)

    @rule(path=PATHS, to=PATHS)
    def copy(self, path: str, to: str) -> None:
        inside = self.below(path)
        possible = (
            path in self.tree
            and all(self.allowed(path + one) and self.allowed(to + one) for one in inside)
            and self.may_hold(to)
            and to not in self.tree
            and not f"{to}/".startswith(f"{path}/")
        )
        if self.done(lambda: copy(self.root, path, self.writer, to), possible):
            self.tree.update({to + one: self.tree[path + one] for one in inside})

    @rule(path=PATHS, recursive=st.booleans(), trash=st.booleans())
    def delete(self, path: str, recursive: bool, trash: bool) -> None:
        inside = self.below(path)
        possible = (
            path in self.tree and all(self.allowed(path + one) for one in inside) and (recursive or len(inside) == 1)
        )
        if self.done(lambda: delete(self.writer, path, recursive=recursive, trash=trash), possible):
            for one in inside:
                del self.tree[path + one]

    def done(self, act: object, possible: bool) -> bool:
        assert callable(act)
        try:
            act()
        except Failure as failure:
            assert not possible, failure.reason
            return False
        assert possible
        return True

    def allowed(self, path: str) -> bool:
        return DEFAULT_DENY.matches(path) is None

    def may_hold(self, path: str) -> bool:
        """Whether a name can be given here: the folder is there, and no rule closes the name."""
        folder = path.rpartition("/")[0]
        return self.allowed(path) and (not folder or (folder in self.tree and self.tree[folder] is None))

    def below(self, path: str) -> list[str]:
        return [one[len(path) :] for one in self.tree if one == path or one.startswith(f"{path}/")]

    def free(self, path: str, to: str, replace: bool) -> bool:
        if to not in self.tree:
            return True
        if not replace or (self.tree[to] is None) != (self.tree[path] is None):
            return False
        return to == path or self.tree[to] is not None or len(self.below(to)) == 1


def test_every_change_does_what_a_dictionary_does():
    run_state_machine_as_test(Folder, settings=settings(max_examples=150, stateful_step_count=20, deadline=None))


def test_every_change_does_what_a_dictionary_does_on_the_walk():
    class Walked(Folder):
        method: ClassVar[Method] = "walk"

    run_state_machine_as_test(Walked, settings=settings(max_examples=100, stateful_step_count=20, deadline=None))
