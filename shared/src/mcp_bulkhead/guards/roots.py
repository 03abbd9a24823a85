"""Which of the opened folders a typed path means. Text only: the chosen root's handle decides where the path leads."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_bulkhead.errors import Invalid, OutsideRoot

from .path_failures import OPERATOR
from .path_input import check_typed, decode_file_uri

if TYPE_CHECKING:
    from .paths import RootFS

MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Place:
    """A root, and a path below it that nobody has judged yet."""

    root: "RootFS"
    rel: str
    label: str = ""

    @property
    def shown(self) -> str:
        """How the place is written back to the model; `Roots.locate` understands it."""
        return "/".join(part for part in (self.label, self.rel) if part) or "."


class Roots:
    """The folders an operator opened."""

    def __init__(self, roots: Sequence["RootFS"]) -> None:
        self._roots = tuple(roots)
        taken: set[str] = set()
        for root in self._roots:
            root.name = _unused(root.name, taken)
            taken.add(root.name)

    def __iter__(self) -> Iterator["RootFS"]:
        return iter(self._roots)

    def __len__(self) -> int:
        return len(self._roots)

    def close(self) -> None:
        for root in self._roots:
            root.close()

    def locate(self, path: str) -> Place:
        """The place a path, absolute or relative, or a `file://` URI names."""
        check_typed(path)
        path = decode_file_uri(path)
        if Path(path).is_absolute():
            return self._from_absolute(path)
        if len(self._roots) == 1:
            return self.place(self._roots[0], path)
        return self._from_root_name(path)

    def place(self, root: "RootFS", rel: str) -> Place:
        return Place(root, rel, root.name if len(self._roots) > 1 else "")

    def _from_absolute(self, path: str) -> Place:
        parts = _parts(path)
        for spelling in (str, _composed):
            wanted = [spelling(part) for part in parts]
            found = [
                (len(anchor), root)
                for root in self._roots
                for anchor in (_parts(root.path), _parts(root.real_path))
                if wanted[: len(anchor)] == [spelling(part) for part in anchor]
            ]
            if found:
                length, root = max(found, key=lambda match: match[0])
                return self.place(root, _rest(path, parts[length:]))
        raise OutsideRoot(
            "This path is in none of the opened folders.",
            hint=f"Use a path below one of them: {self._known(by_path=True)}.",
            who=OPERATOR,
        )

    def _from_root_name(self, path: str) -> Place:
        first, *rest = [part for part in _parts(path) if part != "."] or [""]
        for spelling in (str, _composed):
            for root in self._roots:
                if spelling(root.name) == spelling(first):
                    return self.place(root, _rest(path, rest))
        raise Invalid(
            "A relative path must start with the name of an opened folder.",
            field="path",
            problem="its first part is not the name of an opened folder",
            code="invalid_path",
            hint=f"Start it with one of: {self._known(by_path=False)}.",
        )

    def _known(self, *, by_path: bool) -> str:
        names = [root.path if by_path else root.name for root in self._roots]
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return ", ".join(names[:MAX_NAMED]) + more


def _parts(path: str) -> list[str]:
    plain = path if os.sep == "/" else os.path.normcase(path).replace("\\", "/")
    return [part for part in plain.split("/") if part]


def _rest(path: str, parts: Sequence[str]) -> str:
    """Back to text, keeping the closing slash that demands a folder."""
    return "/".join(parts) + ("/" if parts and path.endswith("/") else "")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _unused(name: str, taken: set[str]) -> str:
    count, candidate = 1, name
    while candidate in taken:
        count += 1
        candidate = f"{name}-{count}"
    return candidate
