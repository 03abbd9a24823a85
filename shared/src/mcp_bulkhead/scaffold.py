"""`mcp-bulkhead new`: a server of your own from an existing one: its folder, renamed wherever it carries its name."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from importlib.resources import files
from pathlib import Path
from typing import Final

from .errors import Conflict, Invalid, Missing
from .spec import ENTRY_POINTS, ServerSpec, installed_specs

NAME: Final = re.compile(r"[a-z][a-z0-9]{1,19}")
PREFIX: Final = re.compile(r"[a-z][a-z0-9]{0,11}_")
LEFT_BEHIND: Final = frozenset({"__pycache__", ".venv", "dist", "build", ".pytest_cache", ".hypothesis", ".ruff_cache"})
MARKER: Final = Path("servers")


@dataclass(frozen=True, slots=True)
class Renaming:
    """From one server's names to another's."""

    old: str
    new: str
    old_prefix: str
    new_prefix: str

    def path(self, path: Path) -> Path:
        return Path(*(part.replace(f"mcp_bulkhead_{self.old}", f"mcp_bulkhead_{self.new}") for part in path.parts))

    def text(self, text: str) -> str:
        for old, new in (
            (f"mcp_bulkhead_{self.old}", f"mcp_bulkhead_{self.new}"),
            (f"mcp-bulkhead-{self.old}", f"mcp-bulkhead-{self.new}"),
            (f"mcp-bulkhead/{self.old}", f"mcp-bulkhead/{self.new}"),
            (f"MCP_BULKHEAD_{self.old.upper()}_", f"MCP_BULKHEAD_{self.new.upper()}_"),
            (f'name="{self.old}"', f'name="{self.new}"'),
            (f'tool_prefix="{self.old_prefix}"', f'tool_prefix="{self.new_prefix}"'),
        ):
            text = text.replace(old, new)
        text = re.sub(rf"(?m)^{self.old} = ", f"{self.new} = ", text)
        text = re.sub(rf"\b{re.escape(self.old_prefix)}(?=[a-z])", self.new_prefix, text)
        return re.sub(rf'"{re.escape(self.old_prefix[:-1])}\.(?=[a-z])', f'"{self.new_prefix[:-1]}.', text)


def create(name: str, *, source: Path, prefix: str | None, into: Path) -> list[Path]:
    """Copy the server folder `source` to `into` under a new name; every file written is returned."""
    if not NAME.fullmatch(name):
        raise Invalid("A server's name is 2 to 20 of [a-z0-9] and starts with a letter.", field="NAME")
    old = server_name(source)
    renaming = Renaming(old, name, prefix_of(source, old), f"{(prefix or name[:8]).removesuffix('_')}_")
    if not PREFIX.fullmatch(renaming.new_prefix):
        raise Invalid("A tool prefix is 1 to 12 of [a-z0-9] and an underscore.", field="--tool-prefix")
    if into.exists() and any(into.iterdir()):
        raise Conflict("The folder exists already and is not empty.", hint="Choose another name or folder.")
    return [copy(path, source, into, renaming) for path in files_of(source)]


def copy(path: Path, source: Path, into: Path, renaming: Renaming) -> Path:
    target = into / renaming.path(path.relative_to(source))
    target.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_bytes()
    with suppress(UnicodeDecodeError):  # a binary file carries no names
        content = renaming.text(content.decode()).encode()
    target.write_bytes(content)
    target.chmod(path.stat().st_mode & 0o777)
    return target


def files_of(source: Path) -> list[Path]:
    return sorted(
        path
        for path in source.rglob("*")
        if path.is_file() and not LEFT_BEHIND & set(path.relative_to(source).parts) and ".egg-info" not in str(path)
    )


def server_name(source: Path) -> str:
    """The name of the server in `source`, read off its package folder."""
    packages = sorted((source / "src").glob("mcp_bulkhead_*/__init__.py"))
    if len(packages) != 1:
        raise Missing("That folder is not a Bulkhead server.", hint="Name one with src/mcp_bulkhead_NAME in it.")
    return packages[0].parent.name.removeprefix("mcp_bulkhead_")


def prefix_of(source: Path, name: str) -> str:
    text = (source / "src" / f"mcp_bulkhead_{name}" / "__init__.py").read_text()
    found = re.search(r'tool_prefix="([a-z0-9_]+)"', text)
    if found is None:
        raise Missing("The server does not say its tool_prefix.", hint="Add tool_prefix to its ServerSpec.")
    return found.group(1)


def find_checkout(start: Path) -> Path | None:
    """The checkout that `start` is in, if any."""
    for folder in (start, *start.parents):
        if (folder / "shared" / "pyproject.toml").is_file() and (folder / MARKER).is_dir():
            return folder
    return None


def source_folder(named: str, checkout: Path | None, scratch: Path) -> Path:
    """`--from`: a server of this checkout by name, any server's folder by path, or an installed server by name."""
    if checkout is not None and (checkout / MARKER / named / "src").is_dir():
        return checkout / MARKER / named
    if (Path(named) / "src").is_dir():
        return Path(named).resolve()
    for spec in installed_specs([named]):
        return unpack(spec, scratch / named)
    raise Missing(
        "There is no such server to start from here.",
        hint="Install it, run this inside a clone of the repository, or give --from the path of a server's folder.",
    )


def unpack(spec: ServerSpec, into: Path) -> Path:
    """A server's folder again, from what its wheel holds: the package, its README and its metadata."""
    about = distribution(spec.distribution)
    package = Path(str(files(spec.module)))
    shutil.copytree(package, into / "src" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    (into / "README.md").write_text(about.metadata["Description"] or f"# {spec.distribution}\n")
    (into / "pyproject.toml").write_text(project_file(spec, about))
    return into


def project_file(spec: ServerSpec, about: Distribution) -> str:
    """`pyproject.toml` as the wheel's metadata tells it."""
    needed = [each for each in about.requires or () if "extra ==" not in each]
    dependencies = "".join(f"  {json.dumps(each)},\n" for each in needed)
    return f"""[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{spec.distribution}"
version = "{about.version}"
description = {json.dumps(str(about.metadata["Summary"]))}
readme = "README.md"
license = "Apache-2.0"
requires-python = ">=3.11"
dependencies = [
{dependencies}]

[project.scripts]
{spec.distribution} = "{spec.module}.__main__:main"

[project.entry-points."{ENTRY_POINTS}"]
{spec.name} = "{spec.module}:SPEC"

[tool.hatch.build.targets.wheel]
packages = ["src/{spec.module}"]
"""


def add_dockerfile(checkout: Path, renaming_from: str, name: str) -> Path | None:
    """Inside a checkout every server has an image; it differs from the others by the name only."""
    source = checkout / "Dockerfiles" / f"{renaming_from}.Dockerfile"
    if not source.is_file():
        return None
    target = checkout / "Dockerfiles" / f"{name}.Dockerfile"
    target.write_text(source.read_text().replace(renaming_from, name))
    return target
