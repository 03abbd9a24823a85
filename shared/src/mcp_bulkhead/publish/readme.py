"""The generated parts of README files: what a server offers, how it is set up, and how it fails."""

from collections.abc import Sequence
from typing import Final

from ..settings import SettingInfo
from .clients import Launch, config_key, config_text
from .codes import FailureCode
from .facts import LIBRARY, Facts, ToolFacts
from .installed import stand_in
from .plain import code, fenced, list_of, paragraphs, table, with_section
from .registry import ownership_mark

OPENING: Final = "Use this to "
EFFECTS: Final = (("read", "reads"), ("write", "writes"), ("destroy", "destroys"), ("send", "sends"))


def server_readme(page: str, facts: Facts, *, docs: str) -> str:
    """`page` with its generated parts brought up to date. `docs` is where docs/ is, seen from the page."""
    page = with_ownership(page or f"# {facts.spec.title}\n\n{facts.spec.summary}\n", facts.spec.name)
    for name, heading, body in (
        ("clients", "## Add it to a client", client_part(facts, docs)),
        ("tools", "## Tools", tools_part(facts)),
        ("settings", "## Settings", settings_part(facts, docs)),
        ("errors", "## Errors", errors_part(facts, docs)),
    ):
        page = with_section(page, name, body, heading=heading)
    return page


def with_ownership(page: str, name: str) -> str:
    mark = ownership_mark(name)
    if mark in page:
        return page
    title, _, rest = page.partition("\n")
    return f"{title}\n\n{mark}\n{rest}"


def client_part(facts: Facts, docs: str) -> str:
    return paragraphs(
        "Claude Desktop, Cursor and Windsurf:",
        fenced("json", config_text("claude-desktop", example_launch(facts))),
        f"`{facts.spec.command} --print-config CLIENT` prints it with the full path of your installation, for "
        f"{docs_link('every client we know', docs, 'clients.md')}.",
    )


def example_launch(facts: Facts) -> Launch:
    """How documentation starts the server: by its plain name, with stand-ins for what must be given."""
    needed = [info for info in facts.settings if info.required]
    return Launch(
        key=config_key(facts.spec.name),
        title=facts.spec.title,
        command=facts.spec.command,
        args=tuple(stand_in(info) for info in needed if info.positional),
        env={info.env: stand_in(info) for info in needed if not info.positional},
        secrets=frozenset(info.env for info in needed if info.secret),
    )


def tools_part(facts: Facts) -> str:
    several = len(facts.toolsets) > 1
    head = ["Tool", "To", "Effect", "Scope", *(["Toolset"] if several else [])]
    rows = [
        [
            code(tool.name),
            purpose(tool),
            dict(EFFECTS)[tool.effect],
            code(tool.scope),
            *([tool.toolset] if several else []),
        ]
        for tool in facts.tools
    ]
    chosen = f"Offered by default: {list_of(facts.default_toolsets)}. `--toolsets` chooses others, or `all`."
    return paragraphs(table(head, rows), chosen if several else "", also(facts))


def purpose(tool: ToolFacts) -> str:
    """The tool's first sentence, which says when to use it."""
    return without_opening(first_sentence(tool.description))


def without_opening(text: str) -> str:
    return text.removeprefix(OPENING).removesuffix(".")


def first_sentence(text: str) -> str:
    flat = " ".join(text.split())
    end = flat.find(". ")
    return flat if end < 0 else flat[: end + 1]


def also(facts: Facts) -> str:
    rows = [
        [code(each["uriTemplate"]), "resource", first_sentence(each.get("description", ""))] for each in facts.templates
    ]
    rows += [[code(each["name"]), "prompt", first_sentence(each.get("description", ""))] for each in facts.prompts]
    return table(["Also", "Kind", "What it is"], rows)


def settings_part(facts: Facts, docs: str) -> str:
    link = docs_link("The settings of every server", docs, "settings.md")
    return paragraphs(
        settings_table(facts.own_settings), f"{link} work here too: time limits, budgets, hosting, audit."
    )


def settings_table(infos: Sequence[SettingInfo], *, variables: bool = True) -> str:
    """`variables` is for tables of one server: elsewhere the rule from flag to variable is said once instead."""
    head = ["Setting", *(["Variable"] if variables else []), "Default", "What it does"]
    rows = [
        [
            setting_names(info),
            *([", ".join(map(code, info.env_names))] if variables else []),
            setting_default(info),
            described(info),
        ]
        for info in infos
    ]
    return table(head, rows)


def setting_names(info: SettingInfo) -> str:
    return f"{code(info.positional)} or {code(info.flag)}" if info.positional else code(info.flag)


def setting_default(info: SettingInfo) -> str:
    return "required" if info.default is None else info.default


def described(info: SettingInfo) -> str:
    secret = f" Secret; `{info.file_flag} FILE` reads it from a file." if info.secret else ""
    return f"{info.description.rstrip('.')} ({info.type}).{secret}"


def errors_part(facts: Facts, docs: str) -> str:
    rows = [[code(each.code), each.meaning, each.hint] for each in own_codes(facts)]
    link = docs_link("Codes that every server has", docs, "errors.md")
    return paragraphs(table(["Code", "Meaning", "Its hint"], rows), f"{link} are listed once for all.")


def own_codes(facts: Facts) -> list[FailureCode]:
    """What this server adds, and what its hostile examples show it answering."""
    shown = {answered for _, answered in facts.refused}
    return [each for each in facts.codes.values() if each.package != LIBRARY or each.code in shown]


def docs_link(text: str, docs: str, page: str) -> str:
    """A link where the documentation lies beside the page; plain words where it does not."""
    return f"[{text}]({docs}/{page})" if docs else text


# -- the repository's own README --------------------------------------------------------------------------------------


def root_readme(page: str, all_facts: Sequence[Facts]) -> str:
    page = with_section(page, "servers", servers_part(all_facts), heading="## Servers")
    return with_section(page, "client", root_client_part(all_facts), heading="## Add a server to a client")


def servers_part(all_facts: Sequence[Facts]) -> str:
    rows = [
        [
            f"[{facts.spec.title}](servers/{facts.spec.name}/README.md)",
            facts.spec.summary,
            str(len(facts.tools)),
            list_of([verb for effect, verb in EFFECTS if any(tool.effect == effect for tool in facts.tools)]),
            facts.spec.network,
        ]
        for facts in all_facts
    ]
    return table(["Server", "What it is for", "Tools", "Effects", "Network"], rows)


def root_client_part(all_facts: Sequence[Facts]) -> str:
    facts = example_server(all_facts)
    return paragraphs(
        "Claude Desktop, Cursor and Windsurf; [others](docs/clients.md):",
        fenced("json", config_text("claude-desktop", example_launch(facts))),
    )


def example_server(all_facts: Sequence[Facts]) -> Facts:
    """One server for examples: the first that a person can try with a folder and nothing else."""
    simple = (
        facts for facts in all_facts if any(info.positional and info.form == "directory" for info in facts.own_settings)
    )
    return next(simple, all_facts[0])
