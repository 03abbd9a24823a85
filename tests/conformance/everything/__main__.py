"""`python -m everything --http HOST:PORT`."""

import sys

from . import SPEC
from .hosting import host


def main() -> None:
    sys.exit(host(SPEC, sys.argv[1:]))


if __name__ == "__main__":
    main()
