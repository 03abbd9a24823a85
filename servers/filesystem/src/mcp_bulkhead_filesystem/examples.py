"""A throw-away folder, and what each tool does in it. Documentation, demo and contract suite all run these."""

import os
import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from mcp_bulkhead import World, good, good_prompt, good_resource, hostile

README = "# Harbour\n\nA small project about tides.\n\n## Layout\n\n- `src/` the code\n- `notes/` what we learned\n"
CODE = "import math\n\n\ndef tide(hour: float) -> float:\n    return math.sin(hour / 12.4 * math.tau)\n"


@contextmanager
def world(directory: Path) -> Generator[World]:
    """A project with text in several encodings, a picture, ignored and denied files, and links that lead out."""
    root, outside = directory / "harbour", directory / "harbour2"
    for folder in (root / "src", root / "notes", root / "build", root / ".ssh", outside):
        folder.mkdir(parents=True)
    files: dict[str, str | bytes] = {
        "README.md": README,
        ".gitignore": "build/\n*.log\n",
        ".env": "TOKEN=not-for-models\n",
        ".ssh/id_ed25519": "not-for-models\n",
        "src/tide.py": CODE,
        "src/long.txt": "".join(f"line {number}\n" for number in range(1, 3001)),
        "notes/grüße.txt": "Grüße aus dem Hafen\n".encode("latin-1"),
        "notes/utf16.txt": "hello from elsewhere\r\n".encode("utf-16"),
        "notes/logo.png": picture(),
        "notes/tool.bin": bytes(range(256)) * 8,
        "build/out.log": "TIDE ignored\n",
    }
    for name, content in files.items():
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (outside / "secret.txt").write_text("beyond the wall\n")
    with suppress(OSError, NotImplementedError):
        (root / "way_out").symlink_to(outside / "secret.txt")
        (root / "way_out_dir").symlink_to(outside)
        (root / "same").symlink_to("README.md")
        (root / "hidden_env").symlink_to(".env")
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe")
    yield World(arguments=(str(root),), facts={"root": str(root), "outside": str(outside)})


def picture() -> bytes:
    """The smallest honest PNG: one grey pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    )


EXAMPLES = (
    good("fs_list", {}, shows=lambda text: "harbour" in text, why="Where may I look?"),
    good("fs_list", {"path": "."}, shows=lambda text: "README.md" in text and "build" not in text.split("--")[0]),
    good("fs_list", {"path": "README.md"}, shows=lambda text: "README.md" in text, why="One file: size and date."),
    good("fs_read", {"paths": ["README.md"]}, shows=lambda text: "A small project about tides." in text),
    good(
        "fs_read",
        {"paths": ["src/long.txt#L2990-", "src/tide.py#L4"], "numbers": True},
        shows=lambda text: "line 3000" in text and "def tide" in text,
        why="Several ranges of several files in one call.",
    ),
    good("fs_read", {"paths": ["notes/grüße.txt"]}, shows=lambda text: "Grüße aus dem Hafen" in text),
    good("fs_read", {"paths": ["notes/utf16.txt"]}, shows=lambda text: "hello from elsewhere" in text),
    good("fs_read", {"paths": ["notes/logo.png"]}, shows=lambda text: "image/png" in text),
    good(
        "fs_read", {"paths": ["same"]}, shows=lambda text: "tides" in text, why="A link that stays inside is followed."
    ),
    good("fs_find", {"glob": "**/*.py"}, shows=lambda text: "src/tide.py" in text),
    good("fs_grep", {"pattern": r"def \w+\("}, shows=lambda text: "src/tide.py:4" in text),
    good("fs_grep", {"pattern": "TIDE", "literal": True, "ignored": True}, shows=lambda text: "build/out.log" in text),
    good_resource("file://{root}/README.md", shows=lambda text: "tides" in text),
    good_prompt("orient_in_folder"),
    hostile(
        "fs_read",
        {"paths": ["../harbour2/secret.txt"]},
        code="outside_root",
        resource="file://{outside}/secret.txt",
        why="a sibling whose name starts alike",
    ),
    hostile(
        "fs_read",
        {"paths": ["way_out"]},
        code="outside_root",
        resource="file://{root}/way_out",
        why="a link that leads out",
    ),
    hostile("fs_read", {"paths": ["way_out_dir/secret.txt"]}, code="outside_root", why="a folder that leads out"),
    hostile("fs_read", {"paths": ["/etc/passwd"]}, code="outside_root", resource="file:///etc/passwd"),
    hostile(
        "fs_read",
        lambda world: {"paths": [f"{world.facts['root']}/../harbour2/secret.txt"]},
        code="outside_root",
        why="absolute, then out",
    ),
    hostile("fs_read", {"paths": [".env"]}, code="denied", resource="file://{root}/.env", why="a secret by its name"),
    hostile("fs_read", {"paths": ["hidden_env"]}, code="denied", why="a harmless name for a secret"),
    hostile("fs_read", {"paths": [".ssh/../.ssh/id_ed25519"]}, code="denied", why="a detour to a key"),
    hostile(
        "fs_read",
        {"paths": ["pipe"]},
        code="not_regular",
        resource="file://{root}/pipe",
        why="reading it would wait for ever",
    ),
    hostile("fs_read", {"paths": ["README.md\0.png"]}, code="invalid_path"),
    hostile("fs_read", {"paths": []}, code="invalid_arguments"),
    hostile("fs_list", {"path": ".."}, code="outside_root", resource="file:///"),
    hostile("fs_find", {"glob": "*", "path": "way_out_dir"}, code="outside_root"),
    hostile("fs_grep", {"pattern": "beyond", "path": "/"}, code="outside_root"),
    hostile("fs_grep", {"pattern": "x", "cursor": "AAAA"}, code="bad_cursor", why="a continuation nobody issued"),
)
