"""The manifest and the tests hold on to each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

from mcp_bulkhead.testing.requirements import GROUPS, REQUIREMENTS, requirement


def marked(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every test function below `folder`, and the requirements it names."""
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
                named = [each for each in calls if isinstance(each.func, ast.Name) and each.func.id == "requirement"]
                yield f"{path.name}::{node.name}", [ast.literal_eval(word) for each in named for word in each.args]


@requirement("MANIFEST-1")
def test_every_requirement_of_a_server_has_a_test_and_every_test_a_requirement() -> None:
    tests = dict(marked(Path(__file__).parent))
    proved = {one for ids in tests.values() for one in ids}
    promised = {each.id for each in REQUIREMENTS if each.proof == "server"}
    assert [name for name, ids in tests.items() if not ids] == []
    assert proved - promised == set()
    assert promised - proved == set()


@requirement("MANIFEST-1")
def test_the_manifest_is_in_order() -> None:
    ids = [each.id for each in REQUIREMENTS]
    assert len(ids) == len(set(ids))
    assert {each.group for each in REQUIREMENTS} == set(GROUPS)
    assert all(each.sentence.endswith(".") and each.source for each in REQUIREMENTS)
