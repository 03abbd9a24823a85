"""What must never leave: the secrets we hold, and text that has the shape of one.

Known values are taken out of everything, results included. Shapes are for logs and errors only: a file that a user
asked for may well hold a token, and showing a file means showing it. A secret that is cut in two by a page or a call
boundary is not recognised; keep secrets out of what is paged.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from .text import map_strings

PLACEHOLDER = "[redacted]"
MIN_LENGTH = 6
MIN_LINE = 16
MAX_FORMS = 1_024
MAX_PASSES = 5


class Redacted(NamedTuple):
    text: str
    found: int


class RedactedJson(NamedTuple):
    value: Any
    found: int


@dataclass(frozen=True)
class Shape:
    """A family of secrets that betrays itself. `hints`: the pattern cannot match without one of them."""

    name: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]


# Every pattern either starts at a character that its own body cannot contain, or has bounded repeats: linear time.
SHAPES = (
    Shape(
        "private_key",
        ("-----BEGIN",),
        re.compile(
            r"(?P<secret>-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z))",
            re.DOTALL,
        ),
    ),
    Shape(
        "aws_key_id", ("AKIA", "ASIA"), re.compile(r"(?<![A-Za-z0-9])(?P<secret>A[KS]IA[A-Z2-7]{16})(?![A-Za-z0-9])")
    ),
    Shape(
        "github_token",
        ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        re.compile(r"(?<![A-Za-z0-9_])(?P<secret>gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,})", re.ASCII),
    ),
    Shape("gitlab_token", ("glpat-",), re.compile(r"(?<![\w-])(?P<secret>glpat-[\w-]{20,})", re.ASCII)),
    Shape("slack_token", ("xox",), re.compile(r"(?<![A-Za-z0-9-])(?P<secret>xox[abeoprs]-[A-Za-z0-9-]{10,})")),
    Shape(
        "model_api_key",
        ("sk-ant-", "sk-proj-"),
        re.compile(r"(?<![\w-])(?P<secret>sk-(?:ant|proj)-[\w-]{20,})", re.ASCII),
    ),
    Shape(
        "json_web_token",
        ("eyJ",),
        re.compile(r"(?<![\w-])(?P<secret>eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){1,3})", re.ASCII),
    ),
    Shape(
        "authorization",
        ("uthorization", "UTHORIZATION"),
        re.compile(
            r"""authorization["'\\]{0,4}[ \t]{0,4}[:=][ \t]{0,4}["'\\]{0,4}"""
            r"""(?:(?:bearer|basic|token|apikey|negotiate)[ \t]{1,4})?+(?P<secret>[A-Za-z0-9._~+/=-]{8,})""",
            re.IGNORECASE,
        ),
    ),
    Shape(
        "bearer",
        ("earer ", "EARER "),
        re.compile(r"(?<![A-Za-z])bearer {1,4}(?P<secret>[A-Za-z0-9._~+/=-]{20,})", re.IGNORECASE),
    ),
    Shape(
        "url_password",
        ("@",),
        re.compile(r"://[^\s/@:\"'<>]{0,128}:(?P<secret>(?!\[redacted\]@)[^\s/@\"'<>]{1,256})@"),
    ),
)

HINTS = tuple(hint for shape in SHAPES for hint in shape.hints)


class Redactor:
    """Takes secrets out of text. Register every secret when it is read, and again when its file changes."""

    def __init__(self, values: Iterable[str | SecretStr] = ()) -> None:
        self._forms: tuple[str, ...] = ()
        self._json_forms: tuple[str, ...] = ()
        for value in values:
            self.register(value)

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def register(self, value: str | SecretStr) -> bool:
        """Remember a secret and its usual encodings. False if it is too short to be told from ordinary text.

        A replaced secret stays known: it may still be valid elsewhere. The oldest go when there are very many.
        """
        secret = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not is_tellable(secret.strip()):
            return False
        fresh = [form for form in dict.fromkeys(forms_of(secret.strip())) if form not in self._forms]
        self._forms = (*self._forms, *fresh)[-MAX_FORMS:]
        self._json_forms = tuple(dict.fromkeys(json.dumps(form)[1:-1] for form in self._forms))
        return True

    def suspects_json(self, encoded: str) -> bool:
        """A quick look at ASCII JSON as a whole: False means that no string in it would be redacted."""
        return any(hint in encoded for hint in HINTS) or any(form in encoded for form in self._json_forms)

    def redact(self, text: str, *, shapes: bool = True) -> Redacted:
        """Replace what must not leave. `shapes=False` for results: only the values we know."""
        count = 0
        for _ in range(MAX_PASSES):  # a cut can join what stood apart, or bare what a longer word hid
            text, shaped = redact_shapes(text) if shapes else (text, 0)
            spans = merged(known_spans(text, self._forms))
            if not spans and not shaped:
                return Redacted(text, count)
            text, count = cut(text, spans), count + shaped + len(spans)
        return Redacted(PLACEHOLDER, count)  # the replacements themselves keep spelling a secret

    def redact_json(self, value: Any, *, shapes: bool = True) -> RedactedJson:
        """The same for every string of a JSON value, keys included."""
        total = 0

        def redacted(text: str) -> str:
            nonlocal total
            result = self.redact(text, shapes=shapes)
            total += result.found
            return result.text

        return RedactedJson(map_strings(value, redacted), total)


def is_tellable(secret: str) -> bool:
    return len(secret) >= MIN_LENGTH and secret not in PLACEHOLDER


def forms_of(secret: str) -> Iterator[str]:
    """The secret as it stands, its longer lines, and how it looks in URLs, JSON, Python, HTML, base64 and hex."""
    raw = secret.encode("utf-8", "surrogateescape")
    yield secret
    yield from (line for line in map(str.strip, secret.splitlines()) if len(line) >= MIN_LINE and "-----" not in line)
    for quoted in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match.group().lower(), quoted)
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield html.escape(secret)
    yield from (raw.hex(), raw.hex().upper())
    yield from base64_forms(raw)


def base64_forms(raw: bytes) -> Iterator[str]:
    """What base64 makes of the secret wherever it stands in a longer text: `user:secret` in a Basic header, say."""
    for offset, unstable in ((0, 0), (1, 2), (2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * offset + raw).decode()[unstable:whole]


def known_spans(text: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        at = text.find(form)
        while at >= 0:
            yield at, at + len(form)
            at = text.find(form, at + 1)


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Overlapping finds become one, so that no rest of the second secret stays behind."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if result and start < result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def cut(text: str, spans: list[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        pieces += (text[done:start], PLACEHOLDER)
        done = end
    return "".join((*pieces, text[done:]))


def redact_shapes(text: str) -> tuple[str, int]:
    count = 0
    for shape in SHAPES:
        if any(hint in text for hint in shape.hints):
            spans = [match.span("secret") for match in shape.pattern.finditer(text)]
            text, count = cut(text, spans), count + len(spans)
    return text, count
