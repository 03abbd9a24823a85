"""The repository as the walls see it: folders, modules and what they import, read and never run."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Module:
    path: str  # relative to the repository, "/"-separated
    tree: ast.Module

    @property
    def package(self) -> str:
        """The import package that the module belongs to: mcp_bulkhead, or one server's."""
        return self.path.split("/src/", 1)[1].split("/", 1)[0]

    @property
    def inner(self) -> str:
        """The path inside the import package: `tools/read.py`."""
        return self.path.split("/src/", 1)[1].split("/", 1)[1]


def modules(root: Path) -> Iterator[Module]:
    """Every module of the library and of the servers, but for tests: the library ships its contract suite."""
    for source in [root / "shared" / "src", *sorted(root.glob("servers/*/src"))]:
        for path in sorted(source.rglob("*.py")):
            if path.name.startswith("test_"):
                continue
            yield Module(path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8")))


def imported(module: Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, inside functions too; not relative imports, which stay at home."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def servers(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("servers/*/pyproject.toml"))


def tracked_files(root: Path) -> list[str]:
    """What git tracks or would: everything that .gitignore does not name."""
    command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, check=True, capture_output=True).stdout.decode().split("\0")
    return sorted(name for name in set(names) if name and (root / name).is_file())


def git_init(root: Path) -> None:
    subprocess.run(["git", "init", "-q", str(root)], check=True)
