"""Every package that users install together with ours has a licence that we accept."""

import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from closure import normal, runtime_closure

# Permissive licences, and MPL-2.0, whose duty ends at its own files, which we do not change. No GPL, LGPL or AGPL: an
# operator who builds on a server of ours must not have to ask a lawyer which way of linking counts in Python.
ACCEPTED = frozenset({
    "0BSD", "3-Clause BSD License", "Apache License 2.0", "Apache Software License", "Apache-2.0", "BSD License",
    "BSD-2-Clause", "BSD-3-Clause", "ISC", "ISC License (ISCL)", "MIT", "MIT License", "MIT-0", "Unlicense", "Zlib",
    "Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0", "PSF-2.0", "Python Software Foundation License",
})  # fmt: skip


def accepted(licence: str) -> bool:
    """Judge an SPDX expression or a list of classifiers: one side of an OR is enough, of everything else all count."""
    return any(all_accepted(side) for side in re.split(r"\s+OR\s+", licence))


def all_accepted(licence: str) -> bool:
    parts = (part.strip() for part in re.split(r"\s+AND\s+|;", licence))
    return all(part in ACCEPTED or part.strip("() ") in ACCEPTED for part in parts)


def licences_of(packages: set[str]) -> dict[str, str]:
    command = [str(Path(sys.executable).with_name("pip-licenses")), "--from=mixed", "--format=json", "--with-system"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {row["Name"]: row["License"] for row in rows if normal(row["Name"]) in packages}


def our_packages() -> list[str]:
    return [found.name for found in distributions() if re.fullmatch(r"mcp-bulkhead(-.*)?", normal(found.name))]


def main() -> int:
    found = licences_of(runtime_closure(our_packages()))
    refused = {name: licence for name, licence in found.items() if not accepted(licence)}
    for name, licence in sorted(refused.items()):
        print(f"{name}: {licence!r} is not a licence that we accept")
    print(f"{len(found)} packages, {len(refused)} refused")
    return 1 if refused or not found else 0


if __name__ == "__main__":
    sys.exit(main())
