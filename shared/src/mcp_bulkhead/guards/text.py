r"""Text that somebody else wrote, made safe to show to a model and to send over the wire.

Nothing invisible passes: what a person would not see is written out, as `\u{202e}`, and counted by class.

surrogate   a lone surrogate; one from an undecodable byte (`os.fsdecode`) reads as that byte, `\x9f`
control     C0 and C1 except newline and tab, DEL, and U+2028 and U+2029, at which only some readers break the line.
            CRLF is an end of line and becomes a newline, uncounted; any other carriage return hides a line: escaped
bidi        everything that changes the reading direction, marks included: "Trojan Source", CVE-2021-42574
zero_width  spaces, joiners, fillers and format characters without a shape, soft hyphen and byte order mark included
variation   a variation selector that has nothing to vary: a run of them carries hidden bytes
tag         U+E0000 to U+E0FFF: the hidden alphabet in which instructions are smuggled

Three things stay because a script needs them and a single one carries no message: a (non-)joiner between two letters of
a script that joins (Arabic, Indic, Khmer, Mongolian ...), the joiner inside an emoji sequence, and one variation
selector after a character that has variants. The escape is for the eye and not reversible: text that spells `\u{202e}`
itself looks the same, and only the count tells them apart.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..errors import TooLarge

MAX_JSON_DEPTH = 100

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
SURROGATE = "\ud800-\udfff"
TAG = "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
VARIATION = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Unicode's Default_Ignorable_Code_Point, less the classes above, plus the interlinear annotation marks.
ZERO_WIDTH = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
CLASSES: Mapping[str, re.Pattern[str]] = {
    "surrogate": re.compile(f"[{SURROGATE}]"),
    "control": re.compile(f"[{CONTROL}]"),
    "bidi": re.compile(f"[{BIDI}]"),
    "zero_width": re.compile(f"[{ZERO_WIDTH}]"),
    "variation": re.compile(f"[{VARIATION}]"),
    "tag": re.compile(f"[{TAG}]"),
}
SUSPECT = re.compile(f"[{SURROGATE}{CONTROL}{BIDI}{ZERO_WIDTH}{VARIATION}{TAG}]")
MAY_BELONG = re.compile(f"[\u200c\u200d{VARIATION}]")
ASCII_CONTROLS = tuple(chr(code) for code in (*range(9), *range(11, 32), 127))

JOINERS = re.compile("[\u200c\u200d]")
JOINED = re.compile(
    "[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefe\U00010a00-\U00010eff\U00011000-\U00011fff]"
)
EMOJI = re.compile("[\u2190-\u21ff\u2300-\u23ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\U0001f000-\U0001faff]")
IDEOGRAPH = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
UNVARIED = re.compile(r"[\sA-Za-z]")
FENCE = re.compile("[<\u2039\u3008\u276e\ufe64\uff1c](?=[\\s/\\\\]*untrusted)", re.IGNORECASE)
PLAIN_LABEL = re.compile(r"[^\w .,:#@/+-]")

JSON_ESCAPES = ("\\u", "\\r", "\\b", "\\f")


class Cleaned(NamedTuple):
    text: str
    escaped: dict[str, int]


class CleanedJson(NamedTuple):
    value: Any
    escaped: dict[str, int]


def clean(text: str) -> Cleaned:
    """Write out what cannot be seen, and count it by class."""
    if not is_plain(text):
        text = text.replace("\r\n", "\n")
    if is_plain(text):
        return Cleaned(text, {})
    met: dict[str, int] = {}

    def written_out(match: re.Match[str]) -> str:
        char = match.group()
        if MAY_BELONG.match(char) and belongs(match.string, match.start()):
            return char
        met[char] = met.get(char, 0) + 1
        return written(char)

    text = SUSPECT.sub(written_out, text)
    escaped: dict[str, int] = {}
    for char, count in met.items():
        add_counts(escaped, {class_of(char): count})
    return Cleaned(text, escaped)


def is_plain(text: str) -> bool:
    # One memchr per control character is a tenth of the time of one pass with a character class.
    if not text.isascii():
        return SUSPECT.search(text) is None
    return text.isprintable() or not any(control in text for control in ASCII_CONTROLS)


def json_is_plain(encoded: str) -> bool:
    """One look at JSON as a whole: True means that no string in it needs cleaning, which is nearly always so.

    `clean_json` takes 5 ms over 9,000 strings, this 0.02. Whatever the encoder escapes shows as one of these escapes.
    """
    return is_plain(encoded) and not any(escape in encoded for escape in JSON_ESCAPES)


def clean_json(value: Any) -> CleanedJson:
    """Clean every string in a JSON value, keys included. Two keys that become equal keep the later value."""
    escaped: dict[str, int] = {}

    def cleaned(text: str) -> str:
        result = clean(text)
        add_counts(escaped, result.escaped)
        return result.text

    return CleanedJson(map_strings(value, cleaned), escaped)


def add_counts(total: dict[str, int], more: Mapping[str, int]) -> None:
    for kind, count in more.items():
        total[kind] = total.get(kind, 0) + count


def map_strings(value: Any, change: Callable[[str], str], depth: int = 0) -> Any:
    """Change every string of a JSON value, keys included; tuples become lists, other values pass."""
    if isinstance(value, str):
        return change(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if depth >= MAX_JSON_DEPTH:
        raise TooLarge(f"The data is nested more than {MAX_JSON_DEPTH} levels deep.", hint="Ask for a part of it.")
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {
            change(key) if isinstance(key, str) else key: map_strings(item, change, depth + 1) for key, item in items
        }
    return [map_strings(item, change, depth + 1) for item in cast("Sequence[Any]", value)]


def written(char: str) -> str:
    code = ord(char)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{{{code:x}}}"  # noqa: PLR2004 - PEP 383


def class_of(char: str) -> str:
    return next(name for name, pattern in CLASSES.items() if pattern.match(char))


def belongs(text: str, at: int) -> bool:
    """Whether the joiner or variation selector at `at` does its ordinary work in writing."""
    char, before, after = text[at], text[at - 1 : at] if at else "", text[at + 1 : at + 2]
    if JOINERS.match(char):
        if is_visible(JOINED, before) and is_visible(JOINED, after):
            return True
        return char == "\u200d" and ends_in_emoji(text[max(0, at - 2) : at]) and is_visible(EMOJI, after)
    if char > "\uffff":
        return is_visible(IDEOGRAPH, before)
    return bool(before) and not SUSPECT.match(before) and not UNVARIED.match(before)


def is_visible(script: re.Pattern[str], char: str) -> bool:
    return bool(script.match(char)) and not SUSPECT.match(char)


def ends_in_emoji(text: str) -> bool:
    return bool(EMOJI.match(text.removesuffix("\ufe0f")[-1:]))


def new_nonce() -> str:
    return secrets.token_hex(8)


def fence(text: str, label: str, nonce: str) -> Cleaned:
    """Put one author's text between marks that the author cannot have written.

    Use a `new_nonce()` for every result, the same for all its fences. Whatever looks like a mark inside is defused, so
    that the text cannot close its fence or open one in another author's name. The label may name the author: it is cut
    to plain characters.
    """
    body, escaped = clean(text)
    body, marks = FENCE.subn(lambda match: written(match.group()), body)
    guesses = body.count(nonce)
    body = body.replace(nonce, written(nonce[0]) + nonce[1:])
    if marks + guesses:
        escaped["fence"] = marks + guesses
    name = PLAIN_LABEL.sub("_", clean(label).text)[:80]
    return Cleaned(f'<untrusted id="{nonce}" from="{name}">\n{body}\n</untrusted id="{nonce}">', escaped)
