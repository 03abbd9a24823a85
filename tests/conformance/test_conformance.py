"""The official conformance suite, against a fixture built on our library and against every installed server."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from mcp_bulkhead import ServerSpec, installed_specs
from mcp_bulkhead.testing.doors import UNHURRIED, House, opened

from .suite import HERE, Findings, conformance, listed, told

REVISIONS = ("2026-07-28", "2025-11-25")
FIXTURE = HERE / "expected-failures.yaml"
ANY_SERVER = HERE / "expected-failures-any-server.yaml"
AGNOSTIC = (
    "server-stateless",
    "tools-list",
    "resources-list",
    "prompts-list",
    "server-sse-multiple-streams",
    "sep-2164-resource-not-found",
    "dns-rebinding-protection",
    "caching",
    "http-header-validation",
)
PASSED = {"2026-07-28": 158, "2025-11-25": 72}
"""How many checks pass. Fewer means that the suite lost its way to something, even when nothing failed."""

MISSING_MEANS_EMPTY = {"tasks-status-notifications"}
"""A scenario of which the suite itself skips the only check."""


@pytest.fixture(scope="module")
def everything() -> Iterator[ServerSpec]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield import_module("everything").SPEC


@pytest.fixture(scope="module")
def fixture_server(everything: ServerSpec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(everything, "http", tmp_path_factory.mktemp("fixture"), UNHURRIED) as house:
        yield house


@pytest.fixture(scope="module")
def runs(fixture_server: House, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Findings]:
    """What the whole suite finds at the fixture server, by the revision it was asked to check."""
    found: dict[str, Findings] = {}
    for revision in REVISIONS:
        out = tmp_path_factory.mktemp(revision)
        found[revision] = conformance(url_of(fixture_server), out, "--requirements", revision, expected=FIXTURE)
    return found


def url_of(house: House) -> str:
    host, port = house.server.address
    return f"http://{host}:{port}/mcp"


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_suite_accepts_the_fixture_server(runs: dict[str, Findings], revision: str):
    assert runs[revision].code == 0, runs[revision].summary


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_check_passes_or_is_listed_even_those_that_the_suite_does_not_count(
    runs: dict[str, Findings], revision: str
):
    unlisted = runs[revision].bad() - listed(FIXTURE).keys()
    assert told(runs[revision], unlisted) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_nothing_passes_by_not_being_run(runs: dict[str, Findings], revision: str):
    assert set(runs[revision].empty()) <= MISSING_MEANS_EMPTY
    assert runs[revision].count()["SUCCESS"] >= PASSED[revision]


def test_every_listed_failure_still_fails_and_has_a_reason(runs: dict[str, Findings]):
    entries = listed(FIXTURE)
    assert [entry for entry, reason in entries.items() if len(reason) < 60] == []
    assert entries.keys() - set[str]().union(*(found.bad() for found in runs.values())) == set()


@pytest.mark.usefixtures("runs")
def test_what_asks_back_passed_through_our_pipeline(fixture_server: House):
    fixture_server.server.process.popen.terminate()
    fixture_server.server.process.wait()
    calls = [record for record in fixture_server.server.records() if record.get("phase") == "call"]
    asking = {*import_module("everything.rounds").ROUNDS, *import_module("everything.questions").QUESTIONS}
    assert asking <= {record["name"] for record in calls}
    tampered = [record for record in calls if record["name"] == "test_input_required_result_tampered_state"]
    assert [record["code"] for record in tampered] == [None, "jsonrpc-32602"]


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in installed_specs()])
def test_an_installed_server_passes_what_any_server_can(spec: ServerSpec, tmp_path: Path):
    entries = listed(ANY_SERVER)
    bad: set[str] = set()
    with opened(spec, "http", tmp_path / "server", UNHURRIED) as house:
        for scenario in AGNOSTIC:
            options = ("--scenario", scenario, "--spec-version", "2026-07-28")
            found = conformance(url_of(house), tmp_path / scenario, *options, expected=ANY_SERVER)
            assert found.code == 0, found.summary
            assert found.empty() == []
            bad |= found.bad()
    assert bad == entries.keys()
