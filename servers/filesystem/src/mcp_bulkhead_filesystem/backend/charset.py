r"""Which encoding a file is in, told from its beginning, and its bytes as text.

Nothing here guesses twice: the same file is always named the same, so that its pages fit together. What does not
decode in the named encoding is shown as `\xHH` and counted, never replaced by something else.
"""

import codecs
import re
from dataclasses import dataclass

EVIDENCE = 256 * 1024
"""How much of a file decides. A file that turns out otherwise later shows its odd bytes as escapes."""

SURROGATES = re.compile("[\ud800-\udfff]")
CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")
HIGH = re.compile(rb"[\x80-\xff]")
IDEOGRAPHIC = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
BEYOND_ASCII = re.compile("[^\x00-\x7f]")
UNASSIGNED_1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
C1 = re.compile(rb"[\x80-\x9f]")
MAX_CONTROL_SHARE = 0.02
MIN_IDEOGRAPH_SHARE = 0.9
# The common characters of GB 2312 (its first level) and its punctuation; two accented Latin letters in a row look like
# the rare ones.
COMMON_LEADS = frozenset((*range(0xA1, 0xAA), *range(0xB0, 0xD8)))
MIN_COMMON_SHARE = 0.7
# Both bytes of a common Chinese character are high; an accented Latin letter stands alone among ASCII.
MIN_HIGH_SHARE = 0.75
MIN_ZERO_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Charset:
    """How bytes become lines. `unit` is the width of one code unit, `bom` the bytes to leave out at the start."""

    codec: str
    unit: int = 1
    bom: int = 0

    @property
    def label(self) -> str:
        return f"{self.codec}+bom" if self.bom else self.codec

    @property
    def newline(self) -> bytes:
        return "\n".encode(self.codec)

    @property
    def carriage_return(self) -> bytes:
        return "\r".encode(self.codec)

    @property
    def is_utf8(self) -> bool:
        return self.codec == "utf-8"

    def decoder(self) -> codecs.IncrementalDecoder:
        """Undecodable bytes come out as lone surrogates; `readable` writes them out."""
        return codecs.getincrementaldecoder(self.codec)("surrogatepass" if self.unit > 1 else "surrogateescape")

    def decode(self, raw: bytes) -> str:
        """Whole characters as text; every bad byte a lone surrogate."""
        if self.unit == 1:
            return raw.decode(self.codec, "surrogateescape")
        odd = len(raw) % self.unit
        text = raw[: len(raw) - odd].decode(self.codec, "surrogatepass")
        return text + "".join(chr(0xDC00 + byte) if byte > 0x7F else chr(byte) for byte in raw[len(raw) - odd :])  # noqa: PLR2004 - as surrogateescape does


UTF8 = Charset("utf-8")
BOMS = (
    (codecs.BOM_UTF8, Charset("utf-8", bom=3)),
    (codecs.BOM_UTF16_LE, Charset("utf-16-le", unit=2, bom=2)),
    (codecs.BOM_UTF16_BE, Charset("utf-16-be", unit=2, bom=2)),
)


def readable(text: str) -> tuple[str, int]:
    r"""Undecodable bytes written out as `\xHH`, and how many there were."""
    if text.isascii():
        return text, 0
    return SURROGATES.subn(_written_out, text)


def detect(head: bytes, *, whole: bool) -> Charset | None:
    """The charset of a file that begins so; None when it is not text. `whole` says that `head` is all of it."""
    for bom, charset in BOMS:
        if head.startswith(bom):
            return None if head.startswith(codecs.BOM_UTF32_LE) else charset
    if b"\0" in head:
        return _utf16(head)
    if decodes(head, "utf-8", whole=whole):
        return UTF8
    if len(CONTROLS.findall(head)) > MAX_CONTROL_SHARE * len(head):
        return None
    if _looks_chinese(head, whole=whole):
        return Charset("gb18030")
    return Charset("cp1252" if C1.search(head) and not UNASSIGNED_1252.search(head) else "latin-1")


def decodes(head: bytes, codec: str, *, whole: bool) -> bool:
    """Valid so far; a character cut off at the end counts against it only when the file ends there too."""
    try:
        codecs.getincrementaldecoder(codec)("strict").decode(head, whole)
    except UnicodeDecodeError:
        return False
    return True


def _utf16(head: bytes) -> Charset | None:
    """UTF-16 without a mark: zero bytes on one side only, and text when read so."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if even and odd:
        return None
    codec = "utf-16-le" if odd else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(codec)("strict").decode(head, final=False)
    except UnicodeDecodeError:
        return None
    if not text or sum(not (char.isprintable() or char.isspace()) for char in text[:4096]):
        return None
    # Latin text has a zero in nearly every character; Chinese or Japanese text at least has blanks and line ends.
    if even + odd < MIN_ZERO_SHARE * len(text) and not ("\n" in text or " " in text):
        return None
    return Charset(codec, unit=2)


def _looks_chinese(head: bytes, *, whole: bool) -> bool:
    try:
        text = codecs.getincrementaldecoder("gb18030")("strict").decode(head, whole)
    except UnicodeDecodeError:
        return False
    found = BEYOND_ASCII.findall(text)
    beyond = len(found)
    return (
        beyond > 0
        and sum(char.encode("gb18030")[0] in COMMON_LEADS for char in found) >= MIN_COMMON_SHARE * beyond
        and len(IDEOGRAPHIC.findall(text)) >= MIN_IDEOGRAPH_SHARE * beyond
        and len(HIGH.findall(head)) >= MIN_HIGH_SHARE * 2 * beyond
    )


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"  # noqa: PLR2004 - PEP 383's range
