"""What to read: a path, and which of its lines."""

import re
from dataclasses import dataclass

from mcp_bulkhead.errors import Invalid

RANGE = re.compile(
    r"(?P<path>.*)#L(?P<first>\d{1,12})(?:@(?P<at>\d{1,15}))?(?P<to>-(?:L?(?P<last>\d{1,12}))?)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Want:
    """A path and its lines: from `first` to `last` (None = to the end), beginning `at` bytes into the first line.

    `literal` is the text as it was sent: a file of exactly this name is what was meant.
    """

    path: str
    first: int | None = None
    last: int | None = None
    at: int = 0
    literal: str = ""

    @classmethod
    def parse(cls, text: str) -> "Want":
        """`p`, `p#L10` (one line), `p#L10-`, `p#L10-80`, `p#L10-L80`, `p#L10@2000-80`."""
        match = RANGE.fullmatch(text)
        if match is None or not match["path"]:
            return cls(text, literal=text)
        first, at = int(match["first"]), int(match["at"] or 0)
        last = None if match["to"] and not match["last"] else int(match["last"] or first)
        return cls(match["path"], first, last, at, text)

    def check(self) -> None:
        """Called once the text is known to mean a range, not a name."""
        if self.first is not None and (self.first < 1 or (self.last is not None and self.last < self.first)):
            raise Invalid(
                "This range of lines cannot be.",
                field="paths",
                problem="lines count from 1, and the last is not before the first",
                hint="Write 'file#L10-80', 'file#L10-' or 'file#L10'.",
            )


def continued(path: str, line: int, at: int, last: int | None) -> str:
    """The path that asks for the rest."""
    return f"{path}#L{line}{f'@{at}' if at else ''}-{last or ''}"
