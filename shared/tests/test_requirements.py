"""Every promise of the library is kept by a test, and every test that claims one names one that exists."""

from pathlib import Path

from mcp_bulkhead.testing import contract
from mcp_bulkhead.testing.contract.test_manifest import marked
from mcp_bulkhead.testing.requirements import REQUIREMENTS

HERE = Path(__file__).parent
CONTRACT = Path(str(contract.__file__)).parent


def proved(folder: Path) -> set[str]:
    return {one for _, ids in marked(folder) for one in ids}


def test_every_requirement_has_a_test_and_every_mark_a_requirement():
    ids = {each.id for each in REQUIREMENTS}
    library = {each.id for each in REQUIREMENTS if each.proof == "library"}
    assert proved(HERE) - ids == set()
    assert library - proved(HERE) == set()
    assert proved(CONTRACT) | proved(HERE) == ids
