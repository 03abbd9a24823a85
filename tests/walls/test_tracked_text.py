"""What no tracked file may say, and what the documents must keep true."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .source_tree import REPOSITORY, git_init, tracked_files

# Whoever installs from a mirror of their own must find nothing here that asks for another place. Written in two halves,
# so that this file does not say what it looks for.
REGISTRY_HOSTS = tuple(
    "".join(halves)
    for halves in (
        ("pypi.", "org"), ("python", "hosted.org"), ("npm", "js."), ("yarnpkg.", "com"), ("crates", ".io"),
        ("deb.", "debian"), ("archive.", "ubuntu"), ("docker", ".io"), ("ghcr", ".io"), ("quay", ".io"),
        ("gcr", ".io"), ("mcr.", "microsoft"), ("proxy.", "golang"), ("badge.", "fury"), ("shields", ".io"),
    )
)  # fmt: skip
COMMANDS = frozenset({
    "cat", "cd", "claude", "code", "cp", "curl", "docker", "git", "mcp-bulkhead", "pip", "pipx", "pytest", "python",
    "python3",
    "scripts/bench", "scripts/build", "scripts/check", "scripts/demo", "scripts/docs", "scripts/test", "uv", "uvx",
})  # fmt: skip


def texts(root: Path, *suffixes: str) -> Iterator[tuple[str, str]]:
    for name in tracked_files(root):
        if not suffixes or name.endswith(suffixes):
            content = (root / name).read_bytes()
            if b"\0" not in content:
                yield name, content.decode("utf-8", "replace")


def registry_hosts(root: Path) -> Iterator[str]:
    for name, text in texts(root):
        yield from (f"{name} names {host}" for host in REGISTRY_HOSTS if host in text.lower())


def machine_paths(root: Path) -> Iterator[str]:
    """No file knows where somebody's clone, environment or home lies."""
    places = {str(root), str(root.resolve()), str(Path.home() / ".")}
    telling = [place for place in places if place.count("/") > 1]
    versions = re.compile(r"/\.(pyenv|local/share/uv)/")
    for name, text in texts(root):
        yield from (f"{name} names {place}" for place in telling if f"{place}/" in text)
        yield from (f"{name} names {found[0]}" for found in versions.finditer(text))


def dead_links(root: Path) -> Iterator[str]:
    """A relative link leads to a file."""
    for name, text in texts(root, ".md"):
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            path = target.split("#", 1)[0]
            if path and ":" not in path and not (root / name).parent.joinpath(path).exists():
                yield f"{name} links to {target}"


def foreign_commands(root: Path) -> Iterator[str]:
    """Commands in documents are ours or ones that every reader can have."""
    for name, text in texts(root, ".md"):
        for block in re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            for line in re.sub(r"\\\n", " ", block).splitlines():
                words = re.sub(r"\s#.*|^#.*", "", line.removeprefix("$ ")).split()
                named = next((word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)), "")
                command = named.removeprefix("./").removeprefix(".venv/bin/")
                if command and command not in COMMANDS and not command.startswith("mcp-bulkhead-"):
                    yield f"{name} runs {command}"


def unlisted_decisions(root: Path) -> Iterator[str]:
    """Every decision is numbered without a gap and listed in the index."""
    folder = root / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))
    index = (folder / "README.md").read_text(encoding="utf-8")
    yield from (f"docs/decisions/README.md does not list {name}" for name in records if f"({name})" not in index)
    if [name[:4] for name in records] != [f"{number:04}" for number in range(1, len(records) + 1)]:
        yield "docs/decisions is not numbered from 0001 without a gap"


Rule = Callable[[Path], Iterator[str]]
RULES: tuple[Rule, ...] = (registry_hosts, machine_paths, dead_links, foreign_commands, unlisted_decisions)
PLANTED = (
    (registry_hosts, "x.lock", f"https://files.{REGISTRY_HOSTS[1]}/x.whl"),
    (machine_paths, "x.py", "#!/home/ann/{}/versions/3.11.7/bin/python".format(".pyenv")),
    (dead_links, "x.md", "[gone](docs/gone.md)"),
    (foreign_commands, "x.md", "```sh\nA=1 make install\n```\n"),
    (unlisted_decisions, "docs/decisions/0002-second.md", "# Second"),
    (unlisted_decisions, "docs/decisions/0003-third.md", "# Third"),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    decisions = tmp_path / "docs" / "decisions"
    decisions.mkdir(parents=True)
    (decisions / "0001-first.md").write_text("# First\n[index](README.md)")
    (decisions / "README.md").write_text(
        "- [First](0001-first.md)\n```sh\nscripts/test\nmcp-bulkhead-one --version\n```\n"
    )
    git_init(tmp_path)
    return tmp_path


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_repository_keeps_the_rule(rule: Rule):
    found = [*rule(REPOSITORY)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_innocent_text_passes(rule: Rule, model: Path):
    assert [*rule(model)] == []


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED)
def test_a_planted_breach_is_found(rule: Rule, path: str, text: str, model: Path):
    (model / path).write_text(text)
    assert [*rule(model)]


def test_the_place_of_the_clone_is_found(model: Path):
    (model / "x.toml").write_text(f'folder = "{model}/dist"')
    assert [*machine_paths(model)]
