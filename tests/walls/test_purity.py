"""What a module may not do: read the environment, keep state, swallow errors, act when imported."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .source_tree import REPOSITORY, Module, modules

Breach = tuple[int, str]

MUTABLE_MAKERS = frozenset(
    {"list", "dict", "set", "bytearray", "defaultdict", "deque", "Counter", "OrderedDict", "count", "cycle"}
)
READ_ONLY_TYPES = frozenset({"Mapping", "Sequence", "Set", "AbstractSet", "Collection", "Iterable"})
QUIET_STATEMENTS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    ast.If, ast.Try, ast.Raise, ast.Assert, ast.Pass,
)  # fmt: skip


def environment_reads(module: Module) -> Iterator[Breach]:
    """Only settings read the environment; everything else gets typed values."""
    if module.inner.endswith("settings.py") or "settings/" in module.inner:
        return
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and node.attr in names and called(node.value) == "os":
            yield node.lineno, f"os.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node.lineno, f"os.{alias.name}") for alias in node.names if alias.name in names)


# A call or the process ends in app.py; a thread ends in memory.py, and hands its error over; contained.py only watches.
MAY_CATCH_ALL = ("app.py", "telemetry/contained.py", "testing/memory.py")


def swallowed_errors(module: Module) -> Iterator[Breach]:
    """Everything is caught only where a call or the process ends; to clean up and raise again is no catch."""
    if module.package == "mcp_bulkhead" and (module.inner.startswith("pipeline/") or module.inner in MAY_CATCH_ALL):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and catches_all(node.type) and not raises_again(node):
            yield node.lineno, "catches everything"
        elif isinstance(node, ast.Call) and called(node.func) == "suppress" and any(map(catches_all, node.args)):
            yield node.lineno, "suppresses everything"


def catches_all(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(map(catches_all, caught.elts))
    return caught is None or called(caught) in {"Exception", "BaseException"}


def raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def module_state(module: Module) -> Iterator[Breach]:
    """A module holds constants. A table is annotated Mapping, Sequence or Set: then the type checker keeps it one."""
    for node in module.tree.body:
        if isinstance(node, ast.Assign):
            targets, annotation, value = node.targets, None, node.value
        elif isinstance(node, ast.AnnAssign) and node.value:
            targets, annotation, value = [node.target], node.annotation, node.value
        else:
            continue
        if mutable(value) and not read_only(annotation) and [ast.unparse(target) for target in targets] != ["__all__"]:
            yield node.lineno, f"{ast.unparse(targets[0])} is mutable"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield node.lineno, f"global {', '.join(node.names)}"


def mutable(value: ast.expr) -> bool:
    displays = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
    return isinstance(value, displays) or (isinstance(value, ast.Call) and called(value.func) in MUTABLE_MAKERS)


def read_only(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(called(node) in READ_ONLY_TYPES for node in ast.walk(annotation))


def acts_on_import(module: Module) -> Iterator[Breach]:
    """An import binds names and does nothing else."""
    for node in top_level(module.tree.body):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if not docstring and not isinstance(node, QUIET_STATEMENTS):
            yield node.lineno, ast.unparse(node).splitlines()[0]


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test):
            continue
        yield node
        if isinstance(node, ast.If):
            yield from top_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from top_level([*node.body, *(line for handler in node.handlers for line in handler.body)])


def called(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


Rule = Callable[[Module], Iterator[Breach]]
RULES: tuple[Rule, ...] = (
    environment_reads,
    swallowed_errors,
    module_state,
    acts_on_import,
)

PLANTED = (
    (environment_reads, "import os\nHOME = os.environ['HOME']"),
    (environment_reads, "from os import getenv"),
    (swallowed_errors, "try:\n    x = 1\nexcept Exception:\n    x = 2"),
    (
        swallowed_errors,
        "try:\n    x = 1\nexcept (ValueError, BaseException) as error:\n    raise RuntimeError from error",
    ),
    (swallowed_errors, "with contextlib.suppress(Exception):\n    x = 1"),
    (module_state, "CACHE = {}"),
    (module_state, "seen: set[str] = set()"),
    (module_state, "def f():\n    global x\n    x = 1"),
    (acts_on_import, "logging.basicConfig()"),
    (acts_on_import, "if True:\n    register()"),
    (acts_on_import, "for x in ():\n    pass"),
)
INNOCENT = """
'''A docstring.'''
import os
from collections.abc import Mapping
TABLE: Mapping[str, int] = {"a": 1}
NAMES = ("a", "b")
__all__ = ["NAMES"]
def clean_up():
    try:
        os.close(3)
    except BaseException:
        os.close(4)
        raise
if __name__ == "__main__":
    clean_up()
"""


def breaches(rule: Rule, root: Path) -> list[str]:
    return [f"{module.path}:{line} {what}" for module in modules(root) for line, what in rule(module)]


def plant(root: Path, source: str, inner: str = "state/kept.py") -> None:
    path = root / "shared" / "src" / "mcp_bulkhead" / inner
    path.parent.mkdir(parents=True)
    path.write_text(source)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_module_breaks_the_rule(rule: Rule):
    found = breaches(rule, REPOSITORY)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("rule", "source"), PLANTED)
def test_a_planted_breach_is_found(rule: Rule, source: str, tmp_path: Path):
    plant(tmp_path, source)
    assert len(breaches(rule, tmp_path)) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_honest_code_passes(rule: Rule, tmp_path: Path):
    plant(tmp_path, INNOCENT)
    assert breaches(rule, tmp_path) == []


@pytest.mark.parametrize(("rule", "source", "inner"), [
    (environment_reads, "import os\nHOME = os.environ['HOME']", "settings/environment.py"),
    (swallowed_errors, "try:\n    x = 1\nexcept Exception:\n    x = 2", "pipeline/adapter.py"),
    (swallowed_errors, "try:\n    x = 1\nexcept Exception:\n    x = 2", "app.py"),
])  # fmt: skip
def test_the_one_place_that_may_does(rule: Rule, source: str, inner: str, tmp_path: Path):
    plant(tmp_path, source, inner)
    assert breaches(rule, tmp_path) == []
