"""The part of requirements.lock that one distribution of ours needs at run time, hashes included, for its image."""

import re
import sys
from pathlib import Path

from closure import normal, runtime_closure


def entries(lock: str) -> dict[str, str]:
    found = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    return {normal(re.split(r"==", entry, maxsplit=1)[0]): entry for entry in found if entry.strip()}


def main(distribution: str) -> int:
    wanted = runtime_closure(["mcp-bulkhead", distribution])
    lock = entries(Path("requirements.lock").read_text(encoding="utf-8"))
    sys.stdout.write("".join(entry for name, entry in sorted(lock.items()) if name in wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
