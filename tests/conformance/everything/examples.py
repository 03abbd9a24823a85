"""Nothing is needed but the way to this package."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mcp_bulkhead import World

HOME = Path(__file__).parent.parent
EXAMPLES = ()


@contextmanager
def world(directory: Path) -> Generator[World]:
    directory.mkdir(parents=True, exist_ok=True)
    yield World(environment={"PYTHONPATH": str(HOME)})
