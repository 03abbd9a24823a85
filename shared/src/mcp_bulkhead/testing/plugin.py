"""What pytest loads by itself: options and marks of the contract suite. Everything else is imported when it is run."""

import pytest

SHORT_CALLS = 25
LONG_CALLS = 1_500


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bulkhead", "the contract suite of Bulkhead servers")
    group.addoption(
        "--bulkhead-server",
        action="append",
        default=[],
        metavar="NAME",
        help="an installed server, or module:SPEC of one that is not; repeat for several (default: all installed)",
    )
    group.addoption("--bulkhead-long", action="store_true", help="fuzz for minutes instead of seconds")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the requirements of the manifest that this test proves")
    config.addinivalue_line("markers", "long: the long form of a slow suite")
