"""The measured world: 20,000 small files in 492 folders, about 22 MB, and beside it one file of 200 MB."""

import random
from pathlib import Path

SUFFIXES = ("py", "md", "txt", "json", "c")
FILES, FOLDERS = 20_000, 492
WORDS = ("harbour", "tide", "rope", "anchor", "mast", "lantern", "chart", "keel", "storm", "gull")
NEEDLE = "the one needle of this haystack"


def plant(where: Path) -> tuple[Path, Path]:
    """The tree and the large file; made once and kept."""
    tree, large = where / "tree", where / "large"
    if not (where / "ready").exists():
        grow(tree)
        large.mkdir(parents=True, exist_ok=True)
        line = ("x" * 79 + "\n").encode()
        with (large / "big.log").open("wb") as file:
            for _ in range(200):
                file.write(line * (1_000_000 // len(line)))
        (where / "ready").touch()
    return tree, large


def grow(tree: Path) -> None:
    dice = random.Random(20)
    folders = [tree / f"d{number % 22}" / f"e{number}" for number in range(FOLDERS)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        suffix = SUFFIXES[number % 5]
        lines = (" ".join(dice.choices(WORDS, k=9)) for _ in range(19))
        text = "\n".join(lines) + ("\n" + NEEDLE if number == FILES // 2 else "") + "\n"
        (folders[number % FOLDERS] / f"f{number}.{suffix}").write_text(text)
