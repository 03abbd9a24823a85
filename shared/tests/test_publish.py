"""From running servers to files: what is gathered, what is written, and that it is the same everywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.publish import Facts, drift, gather_all, render, write
from mcp_bulkhead.publish.bundles import mcpb_complaint, mcpb_manifest
from mcp_bulkhead.publish.catalog import digest, tools_json
from mcp_bulkhead.publish.commands import docs_command, report_changes
from mcp_bulkhead.publish.plain import table, with_section
from mcp_bulkhead.publish.registry import problems, server_json
from mcp_bulkhead.publish.rendering import differing, put, render_facts

TOY = {
    "toyharbour/__init__.py": """
from mcp_bulkhead import ServerSpec

SPEC = ServerSpec(
    name="toyharbour",
    module=__name__,
    title="Toy Harbour",
    summary="Berths and boats of a harbour that does not exist.",
    tool_prefix="harbour_",
    touches=("files below the named folders",),
)
""",
    "toyharbour/__main__.py": "",
    "toyharbour/settings.py": """
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from mcp_bulkhead.settings import Kind, Positional, ServerSettings


class Settings(ServerSettings):
    folders: Annotated[
        tuple[Path, ...],
        Positional("FOLDER"),
        Kind("directory"),
        Field(min_length=1, description="Where the logs are."),
    ]
    token: Annotated[SecretStr | None, Field(description="Opens the harbour office.")] = None
    berths: Annotated[int, Field(ge=1, description="How many berths there are.")] = 12
""",
    "toyharbour/tools.py": """
from typing import Annotated

from pydantic import BaseModel, Field

from mcp_bulkhead import Text, tool

from .failures import Fog


class Boat(BaseModel):
    name: str
    metres: float


@tool(effect="read", scope="harbour.read")
async def harbour_log(day: Annotated[str, Field(description="The day, as 2026-01-31.")] = "today") -> Text:
    '''Use this to read one day of the harbour log. Returns plain text.'''
    raise Fog("There is fog.", hint="Ask again when it lifts.")


@tool(toolset="write", effect="write", scope="harbour.write", idempotent=True)
async def harbour_moor(name: Annotated[str, Field(description="The boat's name.")]) -> Boat:
    '''Use this to give a waiting boat a berth. Returns the boat.'''
    return Boat(name=name, metres=1.0)
""",
    "toyharbour/failures.py": """
from mcp_bulkhead.errors import Later


class Fog(Later):
    '''Nobody can see the pier.'''

    code = "fog"
""",
    "toyharbour/resources.py": """
from mcp_bulkhead import Contents, resource


@resource("harbour://logs/{day}", scope="harbour.read", title="A day of the log")
async def day_log(day: str) -> Contents:
    '''The log of one day.'''
    return Contents(body=day, mime="text/plain")
""",
    "toyharbour/prompts.py": """
from mcp_bulkhead import prompt


@prompt(title="Morning round", scope="toy.read", day="The day to look at.")
async def morning_round(day: str = "today") -> str:
    '''What a harbour master asks first.'''
    return day
""",
    "toyharbour/server.py": """
from contextlib import asynccontextmanager

from mcp_bulkhead import Server

from . import prompts, resources, tools


@asynccontextmanager
async def office():
    yield None


def build(settings):
    where = ", ".join(str(folder) for folder in settings.folders)
    said = f"Logs are in {where}"
    return Server(settings, backend=office(), tools=[tools], resources=resources, prompts=prompts, instructions=said)
""",
    "toyharbour/examples.py": """
from contextlib import contextmanager

from mcp_bulkhead import World, hostile


@contextmanager
def world(directory):
    (directory / "logs").mkdir()
    yield World(arguments=(str(directory / "logs"),))


EXAMPLES = (
    hostile("harbour_log", {"day": "never"}, code="fog"),
    hostile("harbour_log", {"day": 3}, code="invalid_arguments"),
)
""",
    "mcp_bulkhead_toyharbour-0.3.1.dist-info/METADATA": """\
Metadata-Version: 2.1
Name: mcp-bulkhead-toyharbour
Version: 0.3.1
""",
    "mcp_bulkhead_toyharbour-0.3.1.dist-info/entry_points.txt": """\
[mcp_bulkhead.servers]
toyharbour = toyharbour:SPEC
""",
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A complete small server, installed as far as Python can tell."""
    site = tmp_path_factory.mktemp("site")
    for name, text in TOY.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(site))
    yield site
    sys.path.remove(str(site))
    for name in [name for name in sys.modules if name.partition(".")[0] == "toyharbour"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def spec(toy: Path) -> ServerSpec:
    from toyharbour import SPEC  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

    return SPEC  # pyright: ignore[reportUnknownVariableType]


@pytest.fixture(scope="module")
def facts(spec: ServerSpec) -> Facts:
    (only,) = gather_all([spec])
    return only


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repository")


def new_repository(root: Path) -> Path:
    folder = root / "servers" / "toyharbour"
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "mcp-bulkhead-toyharbour"\n')
    (folder / "README.md").write_text("# Toy Harbour\n\nBy hand.\n\n## Refuses\n\nWhales.\n")
    (root / "README.md").write_text("# Everything\n\nBy hand.\n")
    return root


def test_facts_join_what_a_client_sees_with_what_the_declaration_adds(facts: Facts):
    log, moor = facts.tools
    assert (log.name, log.effect, log.scope, log.toolset, log.default) == (
        "harbour_log",
        "read",
        "harbour.read",
        "read",
        True,
    )
    assert (moor.name, moor.effect, moor.toolset, moor.default) == ("harbour_moor", "write", "write", False)
    assert log.seen["annotations"]["readOnlyHint"] is True
    assert moor.seen["outputSchema"]["properties"]["metres"] == {"type": "number"}
    assert [each["uriTemplate"] for each in facts.templates] == ["harbour://logs/{day}"]
    assert [each["name"] for each in facts.prompts] == ["morning_round"]
    assert (facts.version, facts.default_toolsets) == ("0.3.1", ["read"])
    assert [info.name for info in facts.own_settings] == ["folders", "token", "berths"]


def test_no_path_of_the_machine_is_published(facts: Facts):
    assert facts.instructions == "Logs are in /example/logs"


def test_gathering_ignores_the_environment_and_leaves_nothing_in_the_home(
    spec: ServerSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("MCP_BULKHEAD_TOYHARBOUR_TOOLSETS", "write")
    (gathered,) = gather_all([spec])
    assert gathered.default_toolsets == ["read"]
    assert list(tmp_path.iterdir()) == []


def test_writing_twice_changes_nothing_the_second_time(spec: ServerSpec, repository: Path):
    written = write(repository, [spec])
    assert written == sorted(written)
    assert {"README.md", "catalog.json", "docs/clients.md", "docs/errors.md", "docs/settings.md"} < set(written)
    assert {"servers/toyharbour/README.md", "servers/toyharbour/tools.json", "servers/toyharbour/server.json"} < set(
        written
    )
    assert drift(repository, [spec]) == []


def test_an_edit_by_hand_inside_a_section_is_drift_and_outside_it_is_not(facts: Facts, repository: Path):
    def stale() -> list[str]:
        return differing(repository, render_facts(repository, [facts]))

    put(repository, render_facts(repository, [facts]))
    readme = repository / "servers/toyharbour/README.md"
    readme.write_text(readme.read_text().replace("Whales.", "Whales and krakens."))
    assert stale() == []
    readme.write_text(readme.read_text().replace("| `harbour.read` |", "| `harbour.admin` |"))
    assert stale() == ["servers/toyharbour/README.md"]
    put(repository, render_facts(repository, [facts]))
    assert "Whales and krakens." in readme.read_text()
    assert "harbour.admin" not in readme.read_text()


@pytest.mark.parametrize("name", ["catalog.json", "docs/errors.md", "servers/toyharbour/tools.json"])
def test_a_missing_file_is_drift(facts: Facts, repository: Path, name: str):
    files = render_facts(repository, [facts])
    put(repository, files)
    (repository / name).unlink()
    assert differing(repository, files) == [name]


def test_the_command_names_what_differs_and_is_content_when_nothing_does(spec: ServerSpec, repository: Path):
    said: list[str] = []
    assert docs_command(repository, check=True, specs=[spec], say=said.append) == 1
    assert any(line.startswith("docs/errors.md is not") for line in said)
    assert docs_command(repository, specs=[spec], say=said.append) == 0
    said.clear()
    assert docs_command(repository, check=True, specs=[spec], say=said.append) == 0
    assert said == ["toyharbour: no release to compare with"]


def test_a_breaking_change_since_the_last_release_fails_the_check(facts: Facts, repository: Path):
    released = tools_json(facts)
    gone = {**facts.tools[0].seen, "name": "harbour_sink"}
    tools = repository / "servers/toyharbour/tools.json"
    tools.write_text(json.dumps(released | {"version": "0.3.0", "tools": [*released["tools"], gone]}))
    who = [
        "-c",
        "user.name=T",
        "-c",
        "user.email=t@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "tag.gpgsign=false",
    ]
    for words in ("init -q", "add -A", "commit -q -m one", "tag v0.3.0", "commit -q --allow-empty -m two"):
        command = ["git", "-C", str(repository), *who, *words.split()]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    said: list[str] = []
    assert report_changes(repository, [facts], said.append) == 1
    assert said == [
        "toyharbour since v0.3.0: harbour_sink: the tool is gone (breaking)",
        "toyharbour: 1 breaking changes need a major version after 0.3.0, not 0.3.1",
    ]
    assert report_changes(repository, [replace(facts, version="0.4.0")], said.append) == 0


def test_two_machines_render_the_same_bytes(toy: Path, tmp_path: Path):
    """Other home, other working folder, other locale, other hash seed, another order on disk."""
    program = (
        "import json, sys; from pathlib import Path; from mcp_bulkhead.publish import render;"
        "from toyharbour import SPEC; print(json.dumps(render(Path(sys.argv[1]), [SPEC])))"
    )
    rendered: list[str] = []
    for name, seed, locale in (("one", "1", "C"), ("two", "2", "C.UTF-8")):
        root, home = new_repository(tmp_path / name), tmp_path / f"{name}-home"
        home.mkdir()
        path = os.pathsep.join([str(toy), *(entry for entry in sys.path if entry)])
        env = {"HOME": str(home), "PYTHONPATH": path, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TMPDIR": str(home)}
        command = [sys.executable, "-c", program, str(root)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, cwd=home, timeout=60)
        assert done.returncode == 0, done.stderr
        rendered.append(done.stdout)
        assert str(tmp_path) not in done.stdout
    assert rendered[0] == rendered[1]


def test_a_server_that_lives_alone_gets_its_own_three_files(toy: Path, tmp_path: Path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\n[project.entry-points."mcp_bulkhead.servers"]\ntoyharbour = "toyharbour:SPEC"\n'
    )
    files = render(tmp_path)
    assert list(files) == ["README.md", "server.json", "tools.json"]
    assert "../docs" not in files["README.md"]


def test_the_catalog_is_what_its_published_schema_says(facts: Facts, repository: Path):
    files = render_facts(repository, [facts])
    catalog, schema = json.loads(files["catalog.json"]), json.loads(files["docs/catalog.schema.json"])
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(catalog, schema, jsonschema.Draft202012Validator)
    (entry,) = catalog["servers"]
    assert entry["permissions"] == {
        "scopes": {"harbour.read": ["harbour_log"], "harbour.write": ["harbour_moor"]},
        "effects": ["read", "write"],
        "touches": ["files below the named folders"],
    }
    assert [each["name"] for each in entry["settings"] if each["secret"] and not each["common"]] == ["token"]
    for broken in (
        {**catalog, "servers": [{**entry, "digest": "md5:1"}]},
        {**catalog, "servers": [{**entry, "extra": 1}]},
        {**catalog, "servers": [{key: value for key, value in entry.items() if key != "network"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema, jsonschema.Draft202012Validator)


def test_the_digest_follows_what_a_model_is_told_and_nothing_else(facts: Facts):
    first, second = facts.tools
    reworded = replace(first, seen={**first.seen, "description": "Use this to do something else."})
    assert digest(replace(facts, version="9.9.9")) == digest(facts)
    assert digest(replace(facts, tools=(reworded, second))) != digest(facts)


def test_server_json_has_what_the_registry_asks_for(facts: Facts, repository: Path):
    document = server_json(facts)
    assert list(problems(document)) == []
    assert document["name"] == "io.github.mcp-bulkhead/toyharbour"
    assert (
        "<!-- mcp-name: io.github.mcp-bulkhead/toyharbour -->"
        in render_facts(repository, [facts])["servers/toyharbour/README.md"]
    )
    (package,) = document["packages"]
    assert package["packageArguments"][0]["isRepeated"] is True
    assert {each["name"]: each["isSecret"] for each in package["environmentVariables"]} == {
        "MCP_BULKHEAD_TOYHARBOUR_TOKEN": True,
        "MCP_BULKHEAD_TOYHARBOUR_BERTHS": False,
    }


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("", {"name": None}),
        ("", {"name": "no namespace"}),
        ("", {"description": "x" * 101}),
        ("packages/0", {"version": "latest"}),
        ("packages/0", {"version": "^1.2"}),
        ("packages/0", {"registryBaseUrl": "https://example.org"}),
        ("packages/0", {"transport": None}),
        ("packages/0/packageArguments/0", {"valueHint": None}),
        ("packages/0/packageArguments/0", {"type": "other"}),
        ("packages/0/environmentVariables/0", {"name": None}),
    ],
)
def test_a_spoiled_server_json_is_found(facts: Facts, place: str, change: dict[str, str | None]):
    document = json.loads(json.dumps(server_json(facts)))
    part = document
    for step in filter(None, place.split("/")):
        part = part[int(step) if step.isdigit() else step]
    part.update(change)
    assert len(list(problems(document))) == 1


def test_the_mcpb_manifest_asks_for_each_setting_in_its_form(facts: Facts):
    manifest = mcpb_manifest(facts)
    assert manifest["server"]["mcp_config"]["args"][-1] == "${user_config.folders}"
    assert manifest["server"]["mcp_config"]["env"]["MCP_BULKHEAD_TOYHARBOUR_TOKEN"] == "${user_config.token}"
    fields = manifest["user_config"]
    assert (fields["folders"]["type"], fields["folders"]["multiple"], fields["folders"]["required"]) == (
        "directory",
        True,
        True,
    )
    assert fields["token"]["sensitive"] is True
    assert (fields["berths"]["type"], fields["berths"]["default"]) == ("number", 12)
    assert [each["name"] for each in manifest["tools"]] == ["harbour_log"]


@pytest.mark.parametrize("verdict", [0, 1])
def test_the_validator_is_asked_and_believed(facts: Facts, tmp_path: Path, verdict: int):
    """Of the real validator only its manners are played: what it is started with, and how it answers."""
    manifest, stand_in = tmp_path / "manifest.json", tmp_path / "cli.py"
    manifest.write_text(json.dumps(mcpb_manifest(facts)))
    stand_in.write_text(
        "import json, sys\n"
        "assert sys.argv[1] == 'validate' and json.load(open(sys.argv[2]))['manifest_version'] == '0.4'\n"
        f"print('server: unknown key'); sys.exit({verdict})\n"
    )
    complaint = mcpb_complaint(manifest, node=Path(sys.executable), cli=stand_in)
    assert complaint == ("server: unknown key" if verdict else None)


def test_readme_tables_are_short_and_say_each_thing_once(facts: Facts, repository: Path):
    readme = render_facts(repository, [facts])["servers/toyharbour/README.md"]
    assert readme.startswith("# Toy Harbour\n\n<!-- mcp-name")
    assert "| `harbour_log` | read one day of the harbour log | reads | `harbour.read` | read |" in readme
    assert "| `fog` | Nobody can see the pier. | Ask again when it lifts. |" in readme
    assert "| `FOLDER` or `--folders` | `MCP_BULKHEAD_TOYHARBOUR_FOLDERS` | required | Where the logs are" in readme
    assert "--rate-limit-per-minute" not in readme  # common settings have their page


def test_every_code_of_library_and_server_is_documented_once(facts: Facts, repository: Path):
    page = render_facts(repository, [facts])["docs/errors.md"]
    for code in facts.codes:
        assert page.count(f"| `{code}` |") == 1
    assert "| `fog` | Nobody can see the pier. | Ask again when it lifts. | yes |" in page


def test_a_section_is_made_once_and_then_replaced():
    page = with_section("# A\n", "tools", "one", heading="## Tools")
    again = with_section(page.replace("# A", "# B"), "tools", "two", heading="## Tools")
    assert again == "# B\n\n## Tools\n\n<!-- bulkhead:tools -->\ntwo\n<!-- /bulkhead:tools -->\n"
    with pytest.raises(ValueError, match="never closed"):
        with_section("<!-- bulkhead:tools -->\n", "tools", "x", heading="")


def test_a_table_cell_cannot_break_the_table():
    assert table(["A"], [["x | y\nz"]]) == "| A |\n| --- |\n| x \\| y z |"
    assert table(["A"], []) == ""
