"""`python -m bulkhead_fixture FOLDER`."""

import sys

from mcp_bulkhead import run

from . import SPEC


def main() -> None:
    sys.exit(run(SPEC))


if __name__ == "__main__":
    main()
