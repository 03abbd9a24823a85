"""The generated pages of docs/: clients, errors, settings, and what the contract suite holds every server to."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

from ..settings import ServerSettings, describe
from .clients import CLIENTS, claude_command, config_text, cursor_link, vscode_command, vscode_link
from .codes import FailureCode
from .facts import LIBRARY, Facts
from .plain import code, fenced, list_of, paragraphs, table
from .readme import example_launch, example_server, settings_table

GENERATED: Final = "<!-- Written by scripts/docs from the running servers. Change the code, not this page. -->"
REQUIREMENTS: Final = "mcp_bulkhead.testing.requirements"
LANGUAGES: Final = (("codex", "toml"), ("goose", "yaml"))
PLACEHOLDER: Final = "<SERVER>"
PROVED: Final[Mapping[str, str]] = {"server": "for every server", "library": "once, in the library"}

CLIENTS_INTRODUCTION: Final = (
    "One server, `{server}`, in every client. `--print-config CLIENT` prints the same with the full path of your "
    "installation: {clients}."
)
ERRORS_INTRODUCTION: Final = (
    "A call that fails has `isError`, and one text block of JSON: "
    '`{"error": {"code", "message", "hint", "retryable", "retry_after_s"?, "details"?}}`. The code is stable; the hint '
    "names the next useful step, for this very case. Retryable means: the same call may work later."
)
SETTINGS_INTRODUCTION: Final = (
    "Every setting is a flag, an environment variable and a key of the TOML file that `--config` names: `--read-only`, "
    "`MCP_BULKHEAD_<SERVER>_READ_ONLY`, `read_only`. The flag wins over the variable, the variable over the file. "
    "A secret may also be a file, re-read when it changes: the same names with `-file`, `_FILE`, `_file`."
)
CONTRACT_INTRODUCTION: Final = (
    "{count} requirements that every server meets, and a server of your own should. The suite comes with the library: "
    "`pytest --pyargs mcp_bulkhead.testing.contract`."
)


def clients_page(all_facts: Sequence[Facts]) -> str:
    facts = example_server(all_facts)
    return paragraphs(
        "# Clients",
        GENERATED,
        CLIENTS_INTRODUCTION.format(server=facts.spec.name, clients=list_of([code(client) for client in CLIENTS])),
        *(client_part(client, facts) for client in CLIENTS),
        *(other_servers(all_facts) if len(all_facts) > 1 else ()),
    )


def other_servers(all_facts: Sequence[Facts]) -> list[str]:
    head = ["Server", "Command", "Arguments", "Variables"]
    return [
        "## Every server",
        "The same places, with these values:",
        table(head, [launch_row(each) for each in all_facts]),
    ]


def client_part(client: str, facts: Facts) -> str:
    launch = example_launch(facts)
    language = dict(LANGUAGES).get(client, "json")
    parts = [
        f"## {CLIENTS[client].title}",
        f"In {CLIENTS[client].file}:",
        fenced(language, config_text(client, launch)),
    ]
    match client:
        case "claude-code":
            parts += ["Or in a terminal:", fenced("sh", claude_command(launch))]
        case "cursor":
            parts += ["Or open this link:", fenced("text", cursor_link(launch))]
        case "vscode":
            parts += ["Or in a terminal:", fenced("sh", vscode_command(launch))]
            parts += ["Or open this link:", fenced("text", vscode_link(launch))]
        case _:
            pass
    return paragraphs(*parts)


def launch_row(facts: Facts) -> list[str]:
    launch = example_launch(facts)
    return [
        facts.spec.name,
        code(launch.command),
        " ".join(map(code, launch.args)),
        " ".join(code(f"{name}={value}") for name, value in launch.env.items()),
    ]


def errors_page(all_facts: Sequence[Facts]) -> str:
    common = {name: each for name, each in all_facts[0].codes.items() if each.package == LIBRARY}
    parts = [
        "# Errors",
        GENERATED,
        ERRORS_INTRODUCTION,
        "## Every server",
        codes_table(list(common.values())),
    ]
    for facts in all_facts:
        own = [each for each in facts.codes.values() if each.code not in common]
        if own:
            parts += [f"## {facts.spec.title}", codes_table(own)]
    return paragraphs(*parts)


def codes_table(codes: Sequence[FailureCode]) -> str:
    rows = [[code(each.code), each.meaning, each.hint, "yes" if each.retryable else ""] for each in codes]
    return table(["Code", "Meaning", "A hint given with it", "Retryable"], rows)


def settings_page(all_facts: Sequence[Facts]) -> str:
    common = [info for info in describe(ServerSettings, PLACEHOLDER) if info.common]
    groups = dict.fromkeys(info.group for info in common)
    parts = [
        "# Settings",
        GENERATED,
        SETTINGS_INTRODUCTION,
        "## Every server",
    ]
    for group in groups:
        parts += [f"### {'General' if group == 'This server' else group}"]
        parts += [settings_table([info for info in common if info.group == group], variables=False)]
    for facts in all_facts:
        if facts.own_settings:
            parts += [f"## {facts.spec.title}", settings_table(facts.own_settings)]
    return paragraphs(*parts)


def contract_page() -> str | None:
    """What the contract suite holds every server to; no page where the suite is not installed."""
    if find_spec(REQUIREMENTS) is None:
        return None
    suite: Any = import_module(REQUIREMENTS)
    requirements: Sequence[Any] = suite.REQUIREMENTS
    parts = ["# Contract", GENERATED, CONTRACT_INTRODUCTION.format(count=len(requirements))]
    for group, title in suite.GROUPS.items():
        rows = [
            [code(each.id), each.sentence, each.source, PROVED[each.proof]]
            for each in requirements
            if each.group == group
        ]
        parts += [f"## {title}", table(["Id", "Requirement", "Source", "Proved"], rows)]
    return paragraphs(*parts)
