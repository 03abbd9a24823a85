"""The server over a folder of the test's own, asked by a real client in memory."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client

from mcp_bulkhead.app import assemble
from mcp_bulkhead.settings import load
from mcp_bulkhead_filesystem import SPEC
from mcp_bulkhead_filesystem.settings import Root, Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer, as a test wants to look at it."""

    text: str
    error: Mapping[str, Any] | None
    blocks: tuple[Any, ...]

    @property
    def code(self) -> str | None:
        return self.error["code"] if self.error else None


Ask = Callable[..., Awaitable[Asked]]


@asynccontextmanager
async def serving(state: Path, roots: tuple[Root, ...], **more: Any) -> AsyncGenerator[Ask]:
    settings = load(
        Settings, server="filesystem", roots=roots, state_dir=state, rate_limit_per_minute=0, repeat_limit=0, **more
    )
    async with Client(assemble(SPEC, settings)) as client:

        async def ask(tool: str, **arguments: Any) -> Asked:
            result: Any = await client.call_tool(tool, arguments)
            meta: dict[str, Any] = result.meta or {}
            error: Mapping[str, Any] | None = meta.get("io.github.mcp-bulkhead/error")
            return Asked(result.content[0].text, error, tuple(result.content[1:]))

        yield ask


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


@pytest.fixture
def serve(tmp_path: Path, tree: Path) -> Callable[..., Any]:
    """`async with serve() as ask`: the server over `tree`, with any setting changed by keyword."""

    def start(*more_roots: Path, **settings: Any) -> Any:
        roots = tuple(Root(str(root)) for root in (tree, *more_roots))
        return serving(tmp_path / "state", roots, **settings)

    return start
