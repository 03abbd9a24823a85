"""Who may import what."""

import fnmatch
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from .source_tree import REPOSITORY, Module, imported, modules, within

STANDARD = tuple(sorted(sys.stdlib_module_names))
SDK_SEAMS = (
    "mcp_bulkhead/pipeline/adapter.py",
    "mcp_bulkhead/pipeline/invoke.py",
    "mcp_bulkhead/pipeline/identity.py",
    "mcp_bulkhead/transport/http.py",
    "mcp_bulkhead/confirm.py",
    "mcp_bulkhead/app.py",
)


@dataclass(frozen=True, slots=True)
class Wall:
    name: str
    inside: tuple[str, ...]  # globs over "<import package>/<path>"
    free: tuple[str, ...] = ()  # globs again: these may
    forbidden: tuple[str, ...] = ()  # packages that may not be imported
    allowed: tuple[str, ...] = ()  # when given: nothing else may; "{self}" is the module's own package
    other_servers: bool = False  # refuse every server's package but the module's own

    def stands_around(self, module: Module) -> bool:
        place = f"{module.package}/{module.inner}"
        return matches(place, self.inside) and not matches(place, self.free)

    def refuses(self, module: Module, name: str) -> bool:
        if self.other_servers:
            return name.startswith("mcp_bulkhead_") and not within(name, module.package)
        allowed = tuple(package.replace("{self}", module.package) for package in self.allowed)
        return within(name, *self.forbidden) or bool(allowed and not within(name, *allowed))


WALLS = (
    Wall("a server imports the library and itself, and no other server", ("mcp_bulkhead_*/*",), other_servers=True),
    Wall("the library imports no server", ("mcp_bulkhead/*",), other_servers=True),
    Wall(
        "tools know the library and their own server, never what lies behind the backend",
        ("mcp_bulkhead_*/tools/*",),
        allowed=(*STANDARD, "mcp_bulkhead", "mcp", "mcp_types", "pydantic", "typing_extensions", "{self}"),
    ),
    Wall(
        "a backend knows nothing of the protocol",
        ("mcp_bulkhead_*/backend.py", "mcp_bulkhead_*/backend/*"),
        forbidden=("mcp", "mcp_types"),
    ),
    Wall(
        "few files know the SDK's server internals",
        ("*",),
        free=SDK_SEAMS,
        forbidden=("mcp.server",),
    ),
    Wall("one HTTP stack, in one file", ("*",), free=("mcp_bulkhead/outbound/http.py",), forbidden=("httpx", "httpx2")),
    Wall("no second HTTP stack", ("*",), forbidden=("aiohttp", "requests", "urllib3", "urllib.request", "http.client")),
)


def matches(place: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(place, glob) for glob in globs)


def breaches(wall: Wall, root: Path) -> list[str]:
    return [
        f"{module.path}:{line} imports {name}"
        for module in modules(root)
        if wall.stands_around(module)
        for line, name in imported(module)
        if wall.refuses(module, name)
    ]


@pytest.mark.parametrize("wall", WALLS, ids=lambda wall: wall.name)
def test_the_wall_stands(wall: Wall):
    found = breaches(wall, REPOSITORY)
    assert not found, "\n".join(found)


PLANTED = {
    "servers/one/src/mcp_bulkhead_one/server.py": "import mcp_bulkhead_two",
    "shared/src/mcp_bulkhead/spec.py": "from mcp_bulkhead_one import SPEC",
    "servers/one/src/mcp_bulkhead_one/tools/read.py": "def late():\n    from git import Repo",
    "servers/one/src/mcp_bulkhead_one/backend/rows.py": "from mcp import types",
    "shared/src/mcp_bulkhead/results.py": "if TYPE_CHECKING:\n    from mcp.server.mcpserver import Context",
    "servers/one/src/mcp_bulkhead_one/backend/web.py": "import httpx2",
    "shared/src/mcp_bulkhead/publish/fetch.py": "from urllib import request",
}


@pytest.mark.parametrize(("wall", "path"), [*zip(WALLS, PLANTED, strict=True)])
def test_a_planted_breach_is_found(wall: Wall, path: str, tmp_path: Path):
    planted = tmp_path / path
    planted.parent.mkdir(parents=True)
    planted.write_text(PLANTED[path])
    (found,) = breaches(wall, tmp_path)
    assert found.startswith(path)


@pytest.mark.parametrize("path", SDK_SEAMS)
def test_the_seams_may_import_the_sdk(path: str, tmp_path: Path):
    seam = tmp_path / "shared" / "src" / path
    seam.parent.mkdir(parents=True)
    seam.write_text("from mcp.server.mcpserver import MCPServer")
    assert not any(breaches(wall, tmp_path) for wall in WALLS)
