"""Whether a release may carry its changes, and what the last release was.

Before 1.0 the second number of a version counts as the major one.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .compat import Change


class Verdict(NamedTuple):
    """Whether a release may carry these changes, and the one line that says why."""

    passes: bool
    message: str


def gate(old_version: str, new_version: str, changes: Sequence[Change]) -> Verdict:
    """A breaking change needs a new major version."""
    breaking = [change for change in changes if change.kind == "breaking"]
    if not breaking:
        return Verdict(True, f"nothing that breaks a caller of {old_version}")
    if majors(new_version) > majors(old_version):
        return Verdict(
            True, f"{len(breaking)} breaking changes, and {new_version} is a major version after {old_version}"
        )
    return Verdict(
        False, f"{len(breaking)} breaking changes need a major version after {old_version}, not {new_version}"
    )


def majors(version: str) -> tuple[int, int]:
    """What must grow: the first number, or the second one as long as the first is 0."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    if numbers is None:
        raise ValueError(f"{version!r} is not a version")
    major, minor = int(numbers[1]), int(numbers[2] or 0)
    return (major, 0) if major else (0, minor)


def last_release(root: Path, path: str) -> tuple[str, Mapping[str, Any]] | None:
    """The tag of the last release before this commit, and the file as it was there; None without one."""
    tags = git(root, "tag", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-version:refname", "--list", "v*")
    for tag in (tags or "").split():
        text = git(root, "show", f"{tag}:{path}")
        if text is not None:
            return tag, json.loads(text)
    return None


def git(root: Path, *arguments: str) -> str | None:
    """What git answers; None when it, the repository or the object is missing."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run(  # noqa: S603 - git, found on PATH, with our own words
        [program, "-C", str(root), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout if done.returncode == 0 else None
