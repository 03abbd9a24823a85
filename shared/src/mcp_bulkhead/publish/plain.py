"""Small writers for the text formats we publish: Markdown tables, sections between markers, YAML and TOML scalars."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

PLAIN_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
YAML_KEYWORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def json_text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def toml_string(text: str) -> str:
    """JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def yaml_text(value: Any) -> str:
    """Block YAML whose strings are JSON strings, which every YAML reader takes."""
    return "\n".join(yaml_lines(value)) + "\n"


def yaml_lines(value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [
            line
            for key, each in cast("Mapping[str, Any]", value).items()
            for line in yaml_item(f"{yaml_scalar(key)}:", each)
        ]
    if isinstance(value, list | tuple) and value:
        return [line for each in cast("Sequence[Any]", value) for line in yaml_listed(each)]
    return [yaml_scalar(value)]


def yaml_item(label: str, value: Any) -> list[str]:
    if isinstance(value, Mapping | list | tuple) and value:
        return [label, *(f"  {line}" for line in yaml_lines(value))]
    return [f"{label} {yaml_scalar(cast('Any', value))}"]


def yaml_listed(value: Any) -> list[str]:
    first, *rest = yaml_lines(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def yaml_scalar(value: Any) -> str:
    if isinstance(value, str) and PLAIN_WORD.fullmatch(value) and value.lower() not in YAML_KEYWORDS:
        return value
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; an empty one is no table."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines)


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or " "


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def paragraphs(*parts: str) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part.strip())


def with_section(page: str, name: str, body: str, *, heading: str) -> str:
    """`page` with the part between the markers of `name` replaced; a page that has none gets them at its end."""
    opening, closing = f"<!-- bulkhead:{name} -->", f"<!-- /bulkhead:{name} -->"
    section = f"{opening}\n{body.strip()}\n{closing}"
    before, found, rest = page.partition(opening)
    if not found:
        return f"{page.rstrip()}\n\n{heading}\n\n{section}\n"
    _, closed, after = rest.partition(closing)
    if not closed:
        raise ValueError(f"the section {opening} is never closed")
    return f"{before}{section}{after}"


def list_of(words: Sequence[str], empty: str = "none") -> str:
    return ", ".join(words) if words else empty
