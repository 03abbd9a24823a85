r"""What a model sends as the new content of a file, as bytes for that file.

Text has `\n` line ends because that is how files are shown. It is written in the encoding and with the line ends the
file has already; a new file is UTF-8, exactly as sent. Base64 is written as it is, whatever was there.
"""

import base64
import binascii

from mcp_bulkhead.errors import Invalid, TooLarge
from mcp_bulkhead.guards.paths import OpenedFile

from .charset import EVIDENCE, UTF8, Charset, detect
from .splicing import check_encodable, dominant_eol


def sent_bytes(content: str, *, is_base64: bool, like: OpenedFile | None, whole: bool, limit: int) -> bytes:
    """The bytes to write. `like`: the file that is there; `whole`: they replace it, a byte order mark included."""
    if is_base64:
        raw = _decoded(content)
    else:
        charset, eol = _form_of(like)
        check_encodable(content, charset)
        if eol != "\n" and "\r" not in content:
            content = content.replace("\n", eol)
        raw = content.encode(charset.codec)
        if whole and like is not None and charset.bom:
            raw = like.pread(charset.bom, 0) + raw
    if len(raw) > limit:
        raise TooLarge(
            "This is more than may be written in one call.",
            hint="Write the first part, then append the others.",
            details={"bytes": len(raw), "limit": limit},
        )
    return raw


def _form_of(file: OpenedFile | None) -> tuple[Charset, str]:
    """The encoding and the line end that are to be kept; a file that is not text has neither."""
    head = b"" if file is None else file.pread(EVIDENCE, 0)
    charset = detect(head, whole=file is None or len(head) >= file.size) if head else None
    if charset is None:
        return UTF8, "\n"
    even = len(head) - (len(head) - charset.bom) % charset.unit
    return charset, dominant_eol(charset.decode(head[charset.bom : even]))


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(
            "The content is not base64.",
            field="content",
            problem="it has characters or a length that base64 does not have",
            hint="Encode the bytes again, or send text without base64.",
        ) from error
