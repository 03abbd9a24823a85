"""How a server ends: soon, with 0, and without a word."""

import pytest

from mcp_bulkhead.testing.processes import Process, interrupt, terminate
from mcp_bulkhead.testing.requirements import requirement

from .conftest import EVERYTHING, Fresh

SOON_S = 2.0
AT_ONCE_S = 0.3
TRIES = 3
"""The quickest of a few exits counts: what a busy machine adds is not the server's."""


def used(fresh: Fresh) -> Process:
    """A process that has answered a call."""
    visit = fresh("stdio", *EVERYTHING)
    name, arguments = visit.good_calls(reading=True)[0]
    visit.call(name, arguments)
    return visit.house.server.processes[0]


def ended_well(process: Process) -> bool:
    return process.popen.returncode == 0 and "Traceback" not in process.stderr()


@requirement("EXIT-1")
def test_the_end_of_input_ends_the_server(fresh: Fresh) -> None:
    process = used(fresh)
    assert process.end_input() <= SOON_S
    assert ended_well(process), process.stderr()


@requirement("EXIT-2")
@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no signals that ask")
def test_sigterm_ends_the_server(fresh: Fresh) -> None:
    process = used(fresh)
    assert terminate(process) <= SOON_S
    assert ended_well(process), process.stderr()


@requirement("EXIT-3")
@pytest.mark.skipif("sys.platform == 'win32'", reason="Windows has no signals that ask")
def test_sigint_ends_the_server_at_once(fresh: Fresh) -> None:
    taken: list[float] = []
    for _ in range(TRIES):
        process = used(fresh)
        taken.append(interrupt(process))
        assert ended_well(process), process.stderr()
        if taken[-1] <= AT_ONCE_S:
            return
    pytest.fail(f"the quickest exit took {min(taken):.3f} s")
