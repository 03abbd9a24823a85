"""What a file without text is, told by its first bytes; the extension only breaks ties inside a container format."""

from collections.abc import Mapping

# Instances have only the tables of Python itself: the machine's own would make answers differ from host to host.
from mimetypes import MimeTypes
from pathlib import PurePosixPath

SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp")
MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"\0\0\1\0", "image/x-icon"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\3\4", "application/zip"),
    (0, b"PK\5\6", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\0asm", "application/wasm"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"wOF2", "font/woff2"),
    (0, b"wOFF", "font/woff"),
    (0, b"OTTO", "font/otf"),
    (0, b"\0\1\0\0\0", "font/ttf"),
)
RIFF = ("image/webp", "audio/wav", "video/x-msvideo")
OFFICE = "application/vnd.openxmlformats-officedocument."
ZIPPED: Mapping[str, str] = {
    "docx": f"{OFFICE}wordprocessingml.document",
    "xlsx": f"{OFFICE}spreadsheetml.sheet",
    "pptx": f"{OFFICE}presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "epub": "application/epub+zip",
    "jar": "application/java-archive",
}
MAGIC_BYTES = 512


def type_of(head: bytes, name: str) -> str:
    """The MIME type of a file that is not text."""
    found = next(
        (
            mime
            for offset, magic, mime in MAGIC
            if head.startswith(magic, offset) and (mime not in RIFF or head.startswith(b"RIFF"))
        ),
        "application/octet-stream",
    )
    if found == "application/zip":
        return ZIPPED.get(name.rpartition(".")[2].lower(), found)
    if found != "application/octet-stream":
        return found
    guess = _by_extension(name)
    return guess if guess and not guess.startswith(("text/", "image/", "audio/")) else found


def text_type_of(name: str) -> str:
    """The MIME type of a text file, by its name."""
    guess = _by_extension(name)
    if guess and (guess.startswith("text/") or guess in ("application/json", "application/xml", "image/svg+xml")):
        return guess
    return "text/plain"


def is_shown(mime: str) -> bool:
    """Whether clients can show it: common images, and any audio."""
    return mime in SHOWN or mime.startswith("audio/")


def _by_extension(path: str) -> str | None:
    """Only ever a value of the table: guessing by the whole name would take a type from a `data:` address in it."""
    return MimeTypes().types_map[True].get(PurePosixPath(path).suffix.lower())
