"""From facts to files: `render` gives every generated file as text, `write` puts them there, `drift` compares."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from ..spec import ENTRY_POINTS, ServerSpec, installed_specs
from .bundles import docker_entry, mcpb_manifest
from .catalog import catalog, schema, tools_json
from .facts import Facts, gather_all
from .pages import clients_page, contract_page, errors_page, settings_page
from .plain import json_text, yaml_text
from .readme import root_readme, server_readme
from .registry import server_json

DOCKER_NOTE = "# Written by scripts/docs. `source`, the project and its commit, is added when a release is submitted.\n"


def render(root: Path, specs: Sequence[ServerSpec] | None = None) -> dict[str, str]:
    """Every generated file below `root`, by its path with slashes. Asks the servers; writes nothing.

    `root` is the repository, or the folder of one server that lives alone.
    """
    return render_facts(root, gather_all(specs_of(root) if specs is None else specs))


def render_facts(root: Path, all_facts: Sequence[Facts]) -> dict[str, str]:
    together = (root / "servers").is_dir()
    files: dict[str, str] = {}
    for facts in all_facts:
        files |= server_files(root, f"servers/{facts.spec.name}/" if together else "", facts)
    if together and all_facts:
        files |= shared_files(root, all_facts)
    return {path: ended(text) for path, text in sorted(files.items())}


def server_files(root: Path, folder: str, facts: Facts) -> dict[str, str]:
    """What stands in the folder of one server."""
    readme = f"{folder}README.md"
    return {
        readme: server_readme(text_of(root / readme), facts, docs="../../docs" if folder else ""),
        f"{folder}tools.json": json_text(tools_json(facts)),
        f"{folder}server.json": json_text(server_json(facts)),
    }


def shared_files(root: Path, all_facts: Sequence[Facts]) -> dict[str, str]:
    """What stands outside the folders of servers. The root README is a person's; its sections are ours."""
    pages = {"clients": clients_page(all_facts), "errors": errors_page(all_facts), "settings": settings_page(all_facts)}
    contract = contract_page()
    files = {f"docs/{name}.md": page for name, page in pages.items()}
    files |= {"docs/contract.md": contract} if contract else {}
    files["catalog.json"] = json_text(catalog(list(all_facts)))
    files["docs/catalog.schema.json"] = json_text(schema())
    if (root / "README.md").is_file():
        files["README.md"] = root_readme(text_of(root / "README.md"), all_facts)
    for facts in all_facts:
        place = f"docs/bundles/{facts.spec.name}"
        files[f"{place}/manifest.json"] = json_text(mcpb_manifest(facts))
        files[f"{place}/server.yaml"] = DOCKER_NOTE + yaml_text(docker_entry(facts))
    return files


def specs_of(root: Path) -> tuple[ServerSpec, ...]:
    """The servers of this repository that are installed here, or the one server whose folder this is."""
    if (root / "servers").is_dir():
        return installed_specs(path.parent.name for path in root.glob("servers/*/pyproject.toml"))
    with (root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return installed_specs(project.get("entry-points", {}).get(ENTRY_POINTS, {}))


def write(root: Path, specs: Sequence[ServerSpec] | None = None) -> list[str]:
    """Bring every generated file up to date; returns the paths of those that changed."""
    return put(root, render(root, specs))


def put(root: Path, files: dict[str, str]) -> list[str]:
    changed = differing(root, files)
    for path in changed:
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(files[path], encoding="utf-8", newline="\n")
    return changed


def drift(root: Path, specs: Sequence[ServerSpec] | None = None) -> list[str]:
    """The generated files that do not say what the servers say."""
    return differing(root, render(root, specs))


def differing(root: Path, files: dict[str, str]) -> list[str]:
    return [path for path, text in files.items() if text_of(root / path) != text]


def text_of(path: Path) -> str:
    """The file's text, or none. Line ends count as git checks them out."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def ended(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"
