"""The repository and every server folder look as a newcomer expects, down to the file names."""

import re
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from .source_tree import REPOSITORY, git_init, servers, tracked_files

TOP_LEVEL = frozenset({
    ".ci", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfiles", "LICENSE", "README.md",
    "SECURITY.md", "catalog.json", "docs", "pyproject.toml", "requirements.lock", "scripts", "servers", "shared",
    "tests",
})  # fmt: skip
SCRIPTS = frozenset({"bench", "bootstrap.sh", "build", "check", "demo", "docs", "gates", "test"})

BESIDE_SOURCE = frozenset({"README.md", "pyproject.toml", "server.json", "tools.json"})
MODULES = frozenset({
    "__init__.py", "__main__.py", "backend", "examples.py", "models.py", "prompts.py", "py.typed", "resources.py",
    "server.py", "settings.py", "tools",
})  # fmt: skip
ALSO_ALLOWED = frozenset({"arguments.py"})  # annotated argument types that several families share

LINES = (("pyproject.toml", 40), ("src/*/server.py", 79), ("src/*/tools/*.py", 199))


def top_level(root: Path) -> Iterator[str]:
    found = {name.split("/", 1)[0] for name in tracked_files(root)}
    yield from (f"{name} is missing" for name in TOP_LEVEL - found)
    yield from (f"{name} has no place here" for name in found - TOP_LEVEL)


def scripts(root: Path) -> Iterator[str]:
    found = {name.split("/")[1] for name in tracked_files(root) if name.startswith("scripts/")}
    yield from (f"scripts/{name}" for name in SCRIPTS ^ found)


def server_names(root: Path) -> Iterator[str]:
    """Every server has exactly the same names; a large backend may be a package."""
    for server in servers(root):
        folder = root / "servers" / server
        source = folder / "src" / f"mcp_bulkhead_{server}"
        tracked = [Path(name) for name in tracked_files(root) if name.startswith(f"servers/{server}/")]
        beside = {path.parts[2] for path in tracked}
        inside = {path.parts[4] for path in tracked if path.is_relative_to(source.relative_to(root))}
        modules = {"backend" if name == "backend.py" else name for name in inside} - ALSO_ALLOWED
        yield from (f"servers/{server}: {name}" for name in beside ^ (BESIDE_SOURCE | {"src", "tests"}))
        yield from (f"servers/{server}/src: {name}" for name in modules ^ MODULES)
        yield from (f"servers/{server}/tests: {name}" for name in missing_tests(folder, source))


def missing_tests(folder: Path, source: Path) -> Iterator[str]:
    families = {f"test_{path.name}" for path in source.glob("tools/*.py") if path.name != "__init__.py"}
    yield from sorted((families | {"conftest.py", "test_backend.py"}) - {path.name for path in folder.glob("tests/*")})


def short_files(root: Path) -> Iterator[str]:
    for glob, limit in LINES:
        for path in sorted(root.glob(f"servers/*/{glob}")):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > limit:
                yield f"{path.relative_to(root)} has {lines} lines, more than {limit}"


def equal_dockerfiles(root: Path) -> Iterator[str]:
    """One Dockerfile per server, the same but for the name; none without a server."""
    found = {path.name.removesuffix(".Dockerfile"): path for path in root.glob("Dockerfiles/*.Dockerfile")}
    yield from (f"Dockerfiles/{name}.Dockerfile" for name in set(found) ^ set(servers(root)))
    texts = {re.sub(rf"\b{name}\b", "NAME", path.read_text(encoding="utf-8")) for name, path in found.items()}
    if len(texts) > 1:
        yield "the Dockerfiles differ in more than the name"


def declared_names(root: Path) -> Iterator[str]:
    """Distribution, import, command and entry point all follow from the folder's name."""
    for server in servers(root):
        package = f"mcp_bulkhead_{server}"
        project = declared(root, f"servers/{server}")
        expected = {
            "name": f"mcp-bulkhead-{server}",
            "scripts": {f"mcp-bulkhead-{server}": f"{package}.__main__:main"},
            "entry-points": {"mcp_bulkhead.servers": {server: f"{package}:SPEC"}},
        }
        wrong = [key for key, value in expected.items() if project.get(key) != value]
        yield from (f"servers/{server}: {key} is {project.get(key)}" for key in wrong)


def one_version(root: Path) -> Iterator[str]:
    """One number for all packages, and servers that ask for the library of that line."""
    library = declared(root, "shared")["version"]
    major, minor = library.split(".")[:2]
    wanted = re.compile(rf"mcp-bulkhead(\[[\w,-]+\])?>={major}\.{minor},<{int(major) + 1}")
    for server in servers(root):
        project = declared(root, f"servers/{server}")
        if project["version"] != library:
            yield f"servers/{server} is {project['version']}, the library {library}"
        if not any(wanted.fullmatch(line) for line in project["dependencies"]):
            yield f"servers/{server} does not require {wanted.pattern}"


def one_place_for_sources(root: Path) -> Iterator[str]:
    """A folder copied out of the repository installs with plain pip: only the root knows where the members lie."""
    for path in sorted([root / "shared/pyproject.toml", *root.glob("servers/*/pyproject.toml")]):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        if "uv" in content.get("tool", {}) or " @ " in " ".join(content["project"].get("dependencies", ())):
            yield f"{path.relative_to(root)} names where a dependency comes from"


def declared(root: Path, member: str) -> dict[str, Any]:
    return tomllib.loads((root / member / "pyproject.toml").read_text(encoding="utf-8"))["project"]


Rule = Callable[[Path], Iterator[str]]
RULES: tuple[Rule, ...] = (
    top_level, scripts, server_names, short_files, equal_dockerfiles, declared_names, one_version,
    one_place_for_sources,
)  # fmt: skip

GOOD_PROJECT = """
[project]
name = "mcp-bulkhead-one"
version = "1.2.3"
dependencies = ["mcp-bulkhead>=1.2,<2"]
[project.scripts]
mcp-bulkhead-one = "mcp_bulkhead_one.__main__:main"
[project.entry-points."mcp_bulkhead.servers"]
one = "mcp_bulkhead_one:SPEC"
"""
SOURCE = "servers/one/src/mcp_bulkhead_one"
PLANTED = (
    (top_level, "Makefile", ""),
    (scripts, "scripts/deploy", ""),
    (server_names, f"{SOURCE}/utils.py", ""),
    (server_names, f"{SOURCE}/tools/write.py", ""),
    (short_files, f"{SOURCE}/server.py", "\n" * 80),
    (short_files, f"{SOURCE}/tools/read.py", "\n" * 200),
    (equal_dockerfiles, "Dockerfiles/one.Dockerfile", "FROM one\nUSER root\n"),
    (equal_dockerfiles, "Dockerfiles/three.Dockerfile", "FROM three\n"),
    (declared_names, "servers/one/pyproject.toml", GOOD_PROJECT.replace("one:SPEC", "one:OTHER")),
    (one_version, "servers/one/pyproject.toml", GOOD_PROJECT.replace("1.2.3", "1.2.4")),
    (one_version, "servers/one/pyproject.toml", GOOD_PROJECT.replace(">=1.2,<2", "")),
    (one_place_for_sources, "servers/one/pyproject.toml", GOOD_PROJECT + "[tool.uv.sources]\n"),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A repository with two servers in which every rule is kept."""
    folders = {"scripts", "shared", "servers", "tests", "docs", "Dockerfiles", ".ci", ".github"}
    files = dict.fromkeys(TOP_LEVEL - folders, "")
    files |= {f"{folder}/kept.txt": "" for folder in folders - {"scripts"}}
    files |= {f"scripts/{name}": "" for name in SCRIPTS}
    files["shared/pyproject.toml"] = '[project]\nname = "mcp-bulkhead"\nversion = "1.2.3"\n'
    for server in ("one", "two"):
        folder, names = f"servers/{server}", (MODULES - {"backend", "tools"}) | {"backend.py", "tools/read.py"}
        files |= {f"{folder}/{name}": "" for name in BESIDE_SOURCE}
        files |= {f"{folder}/src/mcp_bulkhead_{server}/{name}": "" for name in names}
        files |= {f"{folder}/tests/{name}": "" for name in ("conftest.py", "test_backend.py", "test_read.py")}
        files[f"{folder}/pyproject.toml"] = GOOD_PROJECT.replace("one", server)
        files[f"Dockerfiles/{server}.Dockerfile"] = f"FROM {server}\n"
    for name, text in files.items():
        write(tmp_path / name, text)
    git_init(tmp_path)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Rule):
    found = [*rule(REPOSITORY)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_repository_as_designed_keeps_the_rule(rule: Rule, model: Path):
    assert [*rule(model)] == []


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_breach_is_found(rule: Rule, path: str, text: str, model: Path):
    write(model / path, text)
    assert [*rule(model)]


def test_what_is_installed_is_what_the_folders_declare():
    found = {entry.name: entry.value for entry in entry_points(group="mcp_bulkhead.servers")}
    ours = {server: f"mcp_bulkhead_{server}:SPEC" for server in servers(REPOSITORY)}
    assert ours.items() <= found.items()
