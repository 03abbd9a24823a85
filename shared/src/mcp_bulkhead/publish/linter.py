"""What a model reads, judged by rules that anyone can check by hand. No opinion, no score: a finding or none."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from typing import Any, Final, NamedTuple

from . import portability
from .facts import Facts, ToolFacts
from .readme import first_sentence

ABOUT_CHARS: Final = 440
"""400 and a tenth: one more short clause is no finding."""

HARD_CHARS: Final = 1_000
MAX_NAME: Final = 32
MAX_TOOLS: Final = 15
MAX_INSTRUCTIONS: Final = 2_000
MAX_SUMMARY: Final = 100
MAX_PROMPT_ARGUMENTS: Final = 3
MAX_OVERLAP: Final = 0.5
MIN_NEW_WORDS: Final = 2

WHEN: Final = re.compile(r"Use this (to|when|for|before|after|if|instead|first)\b")
TOOL_NAME: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME - 1}}}")
QUOTED: Final = re.compile(r"`[^`]*`")
CAPITALS: Final = re.compile(r"\b[A-Z]{2,}s?\b")
ORDERS: Final = re.compile(
    r"\byou (must|should|shall|need to|have to)\b|\bmust (always|never)\b"
    r"|(?:^|[.;] )(always|never|remember|ensure|make sure)\b"
    r"|\b(important|critical|warning|attention)\b *[:!]",
    re.IGNORECASE,
)
ACRONYMS: Final = frozenset({
    "AM", "API", "APIs", "ASCII", "BMP", "BOM", "CI", "CPU", "CR", "CSS", "CSV", "DDL", "DML", "DNS", "DOM", "EOF",
    "EOL", "ETA", "FIFO", "GB", "GBK", "GIF", "HEAD", "HMAC", "HTML", "HTTP", "HTTPS", "ID", "IDs", "IP", "ISO",
    "JPEG", "JSON", "JSONL", "KB", "LF", "LRU", "MB", "MCP", "MIME", "MP", "ND", "NFC", "NFD", "NUL", "OS", "PDF",
    "PID", "PM", "PNG", "POSIX", "PR", "PRs", "REST", "RFC", "SHA", "SLA", "SQL", "SSH", "SSL", "SVG", "TB", "TCP",
    "TIFF", "TLS", "TOML", "TTL", "TTY", "UDP", "UI", "URI", "URIs", "URL", "URLs", "UTC", "UTF", "UUID", "UUIDs",
    "VCS", "WAL", "WEBP", "XML", "YAML", "ZIP",
})  # fmt: skip
IDENTITY: Final = frozenset(
    {
        "tenant",
        "tenant_id",
        "user",
        "user_id",
        "username",
        "account",
        "password",
        "secret",
        "token",
        "api_key",
        "credentials",
    }
)
HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")


class Finding(NamedTuple):
    """One broken rule: which, where (a tool, `tool.parameter`, a prompt, the server), and what is wrong with it."""

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"


def lint(facts: Facts, *, known_words: frozenset[str] = frozenset()) -> list[Finding]:
    """Every finding about one server, in the order of its tools. `known_words` are more capitals that do not shout."""
    findings = list(server_rules(facts))
    for tool in facts.tools:
        for rule in TOOL_RULES:
            findings += rule(tool)
        findings += shouting(tool, known_words)
        findings += misnamed(tool, facts.spec.tool_prefix)
    findings += alike(facts.tools)
    for prompt in facts.prompts:
        findings += prompt_rules(prompt)
    return findings


def server_rules(facts: Facts) -> Iterator[Finding]:
    name, usual = facts.spec.name, [tool for tool in facts.tools if tool.default]
    if len(usual) > MAX_TOOLS:
        yield Finding("too-many-tools", name, f"{len(usual)} tools by default; at most {MAX_TOOLS}")
    if len(facts.instructions) > MAX_INSTRUCTIONS:
        yield Finding(
            "instructions-length", name, f"{len(facts.instructions)} characters; clients cut at {MAX_INSTRUCTIONS}"
        )
    if not 0 < len(facts.spec.summary) <= MAX_SUMMARY:
        yield Finding(
            "summary-length", name, f"{len(facts.spec.summary)} characters; the registry takes 1 to {MAX_SUMMARY}"
        )
    for tool, code in facts.refused:
        if code not in facts.codes:
            yield Finding("unknown-code", tool, f"an example expects {code}, which nothing raises")


# -- one tool ---------------------------------------------------------------------------------------------------------


def when_first(tool: ToolFacts) -> Iterator[Finding]:
    if not WHEN.match(tool.description):
        yield Finding("when-first", tool.name, 'the first sentence does not say when: "Use this to ..."')


def lengths(tool: ToolFacts) -> Iterator[Finding]:
    size = len(tool.description)
    if size > ABOUT_CHARS:
        limit = HARD_CHARS if size > HARD_CHARS else 400
        yield Finding(
            "description-length",
            tool.name,
            f"{size} characters; at most {'' if size > HARD_CHARS else 'about '}{limit}",
        )
    if not tool.seen.get("title"):
        yield Finding("title-missing", tool.name, "people see the bare name where a title should be")


def parameters_described(tool: ToolFacts) -> Iterator[Finding]:
    for name, schema in tool.parameters.items():
        words = re.findall(r"[a-z]+", portability.own_words(schema).lower())
        if len(set(words) - set(name.split("_"))) < MIN_NEW_WORDS:
            yield Finding("parameter-described", f"{tool.name}.{name}", "no description, or only its name again")
        if name in IDENTITY:
            yield Finding(
                "identity-argument", f"{tool.name}.{name}", "who asks comes from the connection, never from the model"
            )


def hints_hold(tool: ToolFacts) -> Iterator[Finding]:
    hints: Mapping[str, Any] = tool.seen.get("annotations") or {}
    missing = [name for name in HINTS if not isinstance(hints.get(name), bool)]
    if missing:
        yield Finding("hints-explicit", tool.name, f"not set: {', '.join(missing)}")
    true = (tool.effect == "read", tool.effect in ("destroy", "send"), tool.idempotent, tool.open_world)
    wrong = [name for name, value in zip(HINTS, true, strict=True) if hints.get(name, value) is not value]
    if wrong:
        yield Finding("hints-consistent", tool.name, f"declared otherwise: {', '.join(wrong)}")


def limits_in_words(tool: ToolFacts) -> Iterator[Finding]:
    for name, schema in tool.parameters.items():
        said = re.sub(r"(?<=\d)[,_](?=\d{3})", "", str(schema.get("description", "")))
        silent = [
            key
            for key in portability.LIMITS
            if key in schema and str(schema[key]) not in re.findall(r"\d+(?:\.\d+)?", said)
        ]
        if silent:
            yield Finding(
                "limits-in-words",
                f"{tool.name}.{name}",
                f"clients drop these, and no word says them: {', '.join(silent)}",
            )


def schemas(tool: ToolFacts) -> Iterator[Finding]:
    for problem in portability.input_problems(tool.seen["inputSchema"]):
        yield Finding(problem.rule, f"{tool.name}{problem.place}", problem.message)
    if "outputSchema" in tool.seen:
        for problem in portability.output_problems(tool.seen["outputSchema"]):
            yield Finding(problem.rule, f"{tool.name} output{problem.place}", problem.message)


TOOL_RULES: Final[tuple[Callable[[ToolFacts], Iterator[Finding]], ...]] = (
    when_first,
    lengths,
    parameters_described,
    hints_hold,
    limits_in_words,
    schemas,
)


def misnamed(tool: ToolFacts, prefix: str) -> Iterator[Finding]:
    if not TOOL_NAME.fullmatch(tool.name):
        yield Finding("tool-name", tool.name, f"at most {MAX_NAME} of [a-z0-9_], a letter first")
    if not tool.name.startswith(prefix):
        yield Finding("tool-name", tool.name, f"the tools of this server begin with {prefix}")


def shouting(tool: ToolFacts, known_words: frozenset[str]) -> Iterator[Finding]:
    """In the description and in those of the parameters. What stands in backquotes is quoted, not said."""
    texts = {tool.name: tool.description}
    texts |= {f"{tool.name}.{name}": str(schema.get("description", "")) for name, schema in tool.parameters.items()}
    for where, text in texts.items():
        said = QUOTED.sub("", text)
        loud = [word for word in CAPITALS.findall(said) if word not in ACRONYMS | known_words]
        loud += [match.group(0).strip(" .:;") for match in ORDERS.finditer(said)]
        loud += ["!"] if "!" in said else []
        if loud:
            yield Finding(
                "shouting", where, f"a description informs, it does not order: {', '.join(dict.fromkeys(loud))}"
            )


# -- tools among each other, and prompts ------------------------------------------------------------------------------


def alike(tools: tuple[ToolFacts, ...]) -> Iterator[Finding]:
    """Two tools whose first sentences share most words cannot be told apart by them."""
    for one, other in combinations(tools, 2):
        overlap = jaccard(first_sentence(one.description), first_sentence(other.description))
        if overlap > MAX_OVERLAP:
            message = f"its first sentence shares {overlap:.0%} of its words with that of {one.name}"
            yield Finding("sibling-overlap", other.name, message)


def jaccard(one: str, other: str) -> float:
    """The words that both have, out of the words that either has."""
    first, second = tokens(one), tokens(other)
    return len(first & second) / len(first | second) if first | second else 0.0


def tokens(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9_]+", text.lower()))


def prompt_rules(prompt: Mapping[str, Any]) -> Iterator[Finding]:
    arguments = prompt.get("arguments", [])
    if len(arguments) > MAX_PROMPT_ARGUMENTS:
        yield Finding(
            "prompt-arguments",
            prompt["name"],
            f"{len(arguments)} arguments; people type them: at most {MAX_PROMPT_ARGUMENTS}",
        )
    for argument in arguments:
        if not argument.get("description"):
            yield Finding("prompt-arguments", f"{prompt['name']}.{argument['name']}", "no description")
