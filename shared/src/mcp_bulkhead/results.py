"""What a handler returns, and the one place where it becomes an answer.

Handlers return a pydantic model, `Text`, `Page` or `Media`. Rendering happens once, here: untrusted characters are
escaped, the budget is enforced at a natural edge, the continuation is signed, and the same JSON stands in text and
structure. Nothing else in the library builds a result.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar, cast

from mcp_types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, ConfigDict, Field

from .errors import MAX_ERROR_CHARS, Failure, TooLarge
from .guards.text import clean, clean_json, json_is_plain, map_strings

CURSOR_ROOM: Final = 200
ERROR_META: Final = "io.github.mcp-bulkhead/error"
PROVENANCE_META: Final = "io.github.mcp-bulkhead/provenance"

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes a client can show: an image, or audio that was asked for."""

    data: bytes
    mime: str


@dataclass(frozen=True, slots=True)
class Link:
    """A pointer to a resource, offered beside the text."""

    uri: str
    name: str
    mime: str | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """A resource's contents inside an answer or a prompt, with the address they have.

    Some clients show it only as a line, others drop it: what the model must read belongs into the text.
    """

    uri: str
    body: str | bytes
    mime: str


Part = str | Media | Embedded | Link
"""One block of an answer, or one message of a prompt."""


@dataclass(frozen=True, slots=True)
class Text:
    """A payload: file text, a diff, a page. Shown as text only, because some clients drop text beside structure.

    `next` is a plain JSON position; the pipeline signs it and tells the model how to go on.
    """

    body: str
    next: Any = None
    media: Sequence[Media] = ()
    links: Sequence[Link] = ()
    embedded: Sequence[Embedded] = ()
    source: str | None = None


class Page(BaseModel, Generic[Row]):
    """Rows and where they go on. The last page has no `next`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rows: list[Row]
    next: str | None = Field(default=None, description="Send this as `cursor` to get the rows after these.")

    @classmethod
    def of(cls, rows: Sequence[Row], *, after: Callable[[Row], Any], more: bool) -> "Page[Row]":
        """Rows that can be cut anywhere: `after` gives the position that follows a row; `more` says there is a rest."""
        page = cls(rows=list(rows))
        page._after = cast("Callable[[Any], Any]", after)
        page._more = more
        return page

    @property
    def after(self) -> Callable[[Any], Any] | None:
        """The position that follows a row, where the page can be cut."""
        return self._after

    @property
    def more(self) -> bool:
        return self._more

    _after: Callable[[Any], Any] | None = None
    _more: bool = False


@dataclass(slots=True)
class Rendering:
    """What rendering needs to know of the call: its budget, how to sign a position, and where the content is from."""

    max_chars: int
    hard_chars: int
    sign: Callable[[Any], str]
    untrusted: bool = False
    source: str | None = None
    redact: Callable[[str], str] | None = None
    escaped: dict[str, int] = field(default_factory=dict[str, int])

    def tidy(self, text: str) -> str:
        """Escape and count what could deceive a reader; then remove what must never leave."""
        cleaned = clean(text)
        for kind, count in cleaned.escaped.items():
            self.escaped[kind] = self.escaped.get(kind, 0) + count
        return self.redact(cleaned.text) if self.redact else cleaned.text

    def meta(self) -> dict[str, Any] | None:
        provenance: dict[str, Any] = {}
        if self.untrusted:
            provenance["untrusted"] = True
            if self.source:
                provenance["source"] = clean(self.source).text
        if self.escaped:
            provenance["escaped"] = dict(sorted(self.escaped.items()))
        return {PROVENANCE_META: provenance} if provenance else None


def render(value: Any, to: Rendering) -> CallToolResult:
    """Turn what a handler returned into the answer the client gets."""
    if isinstance(value, Text):
        return render_text(value, to)
    if isinstance(value, BaseModel):
        return render_model(value, to)
    raise TypeError(f"a handler returns a model, Text or Page, not {type(value).__name__}")


def render_text(value: Text, to: Rendering) -> CallToolResult:
    if value.source and not to.source:
        to.source = value.source
    body, position = to.tidy(value.body), value.next
    if len(body) > to.hard_chars:
        body = cut_at_line(body, to.hard_chars) + "\n-- cut here: more than one answer may hold; ask for less at once"
    if position is not None:
        body = f"{body.rstrip(chr(10))}\n-- more: repeat this call with cursor={json.dumps(to.sign(position))}"
    content: list[ContentBlock] = [TextContent(type="text", text=body)]
    content.extend(as_block(part, to) for part in (*value.media, *value.embedded, *value.links))
    return CallToolResult(content=content, _meta=to.meta())


def as_block(part: Part, to: Rendering) -> ContentBlock:
    """One part as its protocol block, its text tidied like any other."""
    if isinstance(part, str):
        return TextContent(type="text", text=cut_at_line(to.tidy(part), to.hard_chars))
    if isinstance(part, Media):
        return shown(part)
    if isinstance(part, Embedded):
        return EmbeddedResource(type="resource", resource=contents_of(part, to))
    return ResourceLink(
        type="resource_link",
        uri=clean(part.uri).text,
        name=clean(part.name).text,
        mime_type=None if part.mime is None else clean(part.mime).text,
        size=part.size,
    )


def shown(media: Media) -> ContentBlock:
    encoded = base64.b64encode(media.data).decode()
    if media.mime.startswith("audio/"):
        return AudioContent(type="audio", data=encoded, mime_type=media.mime)
    return ImageContent(type="image", data=encoded, mime_type=media.mime)


def contents_of(part: Embedded, to: Rendering) -> TextResourceContents | BlobResourceContents:
    uri = clean(part.uri).text
    if isinstance(part.body, bytes):
        return BlobResourceContents(uri=uri, mime_type=part.mime, blob=base64.b64encode(part.body).decode())
    text = cut_at_line(to.tidy(part.body), to.hard_chars)
    return TextResourceContents(uri=uri, mime_type=part.mime, text=text)


def cut_at_line(text: str, limit: int) -> str:
    """The longest whole-line beginning of `text` within `limit`; a single over-long line is cut where it must be."""
    if len(text) <= limit:
        return text
    edge = text.rfind("\n", 0, limit)
    return text[:edge] if edge > 0 else text[:limit]


def render_model(value: BaseModel, to: Rendering) -> CallToolResult:
    if isinstance(value, Page):
        data, text = fit_page(cast("Page[Any]", value), to)
    else:
        data, text = tidied(value, to)
    if len(text) > to.hard_chars:
        raise TooLarge(
            "The answer is larger than one call may return.",
            hint="Ask for less: a narrower path, fewer rows or fewer fields.",
            details={"chars": len(text), "limit": to.hard_chars},
        )
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=data, _meta=to.meta())


def fit_page(page: Page[Any], to: Rendering) -> tuple[dict[str, Any], str]:
    """Keep the rows that fit the budget; sign the place where they stop."""
    data, text = tidied(page, to)
    rows = cast("list[Any]", data["rows"])
    kept = len(rows) if len(text) + CURSOR_ROOM <= to.max_chars else fitting(data, rows, to.max_chars)
    after = page.after
    if after is not None and kept and (page.more or kept < len(rows)):
        data["next"] = to.sign(after(page.rows[kept - 1]))
    elif kept == len(rows):
        return data, text
    data["rows"] = rows[:kept]
    return data, compact(data)


def fitting(data: Mapping[str, Any], rows: Sequence[Any], most: int) -> int:
    """How many rows fit; one always does, or the answer could never go on."""
    size = len(compact({**data, "rows": []})) + CURSOR_ROOM
    for kept, row in enumerate(rows):
        size += len(compact(row)) + 1
        if size > most:
            return max(kept, 1)
    return len(rows)


def tidied(value: BaseModel, to: Rendering) -> tuple[dict[str, Any], str]:
    """The model as JSON, as data and as text. Nearly always one look at the text shows that nothing needs care."""
    data: dict[str, Any] = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = compact(data)
    if not json_is_plain(text):
        cleaned = clean_json(data)
        for kind, count in cleaned.escaped.items():
            to.escaped[kind] = to.escaped.get(kind, 0) + count
        data = cast("dict[str, Any]", cleaned.value)
        text = compact(data)
    if to.redact is not None and to.redact(text) != text:
        data = cast("dict[str, Any]", redact_json(data, to.redact))
        text = compact(data)
    return data, text


def redact_json(value: Any, redact: Callable[[str], str]) -> Any:
    return map_strings(value, redact)


def render_failure(failure: Failure, redact: Callable[[str], str] | None = None) -> CallToolResult:
    """A failure as every client understands it: JSON in the text block and in `_meta`, never structured content.

    TypeScript SDK 1.x checks structured content against the output schema even on errors, and drops the answer.
    """
    error = error_object(failure, redact)
    return CallToolResult(
        content=[TextContent(type="text", text=compact({"error": error}))],
        is_error=True,
        _meta={ERROR_META: error},
    )


def error_object(failure: Failure, redact: Callable[[str], str] | None = None) -> dict[str, Any]:
    error, _ = clean_json(failure.as_dict())
    if redact:
        error = redact_json(error, redact)
    if len(compact({"error": error})) >= MAX_ERROR_CHARS:
        error.pop("details", None)
        error["message"], error["hint"] = error["message"][:600], error["hint"][:600]
    return error


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
