"""Clients made by others, old ones above all, see exactly what our own client sees: every answer and every refusal."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead import ServerSpec, installed_specs

from .parts import REPOSITORY
from .visits import OTHERS, OURS, Client, Visit, code_of, flags_of, visit

INSTALLED = {spec.name: spec for spec in installed_specs()}
FIXTURE = "fixture"
"""The library's fixture server: it has what no installed server may have, crashes and late answers among it."""
FIELDS = ("content", "structuredContent", "isError", "contents", "messages", "code", "message", "data")
"""What reaches the model, or the program behind a client, of a result or of a protocol error."""

CLIENTS = [pytest.param(client, id=client.name) for client in OTHERS]


@pytest.fixture(scope="module", params=[*INSTALLED, FIXTURE])
def spec(request: pytest.FixtureRequest) -> Iterator[ServerSpec]:
    if request.param != FIXTURE:
        yield INSTALLED[request.param]
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "tests" / "fixture_server")
        yield import_module("bulkhead_fixture").SPEC


@pytest.fixture(scope="module")
def seen_by_ours(spec: ServerSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Visit]:
    """What our own client sees, by the flags the server was started with."""
    return {flags: visit(OURS, spec, tmp_path_factory.mktemp("ours"), flags) for flags in flags_of(spec)}


def test_our_own_client_sees_what_the_examples_promise(spec: ServerSpec, seen_by_ours: Mapping[tuple[str, ...], Visit]):
    for flags, ours in seen_by_ours.items():
        codes = [example.code for example in spec.examples() if example.flags == flags and example.kind == "tool"]
        answers = [saw for call, saw in zip(ours.calls, ours.answers, strict=True) if call["kind"] == "tool"]
        assert ours.era == OURS.era
        assert [code_of(saw) for saw in answers] == [*codes, -32602]


@pytest.mark.parametrize("client", CLIENTS)
def test_another_client_sees_the_same(
    spec: ServerSpec, client: Client, seen_by_ours: Mapping[tuple[str, ...], Visit], tmp_path: Path
):
    for number, (flags, ours) in enumerate(seen_by_ours.items()):
        theirs = visit(client, spec, tmp_path / str(number), flags)
        assert theirs.era == client.era
        assert list(differences(ours, theirs, client)) == []


def differences(ours: Visit, theirs: Visit, client: Client) -> Iterator[str]:
    """Where another client saw something else than ours."""
    for listing, items in ours.listed.items():
        if [name_of(item) for item in items] != [name_of(item) for item in theirs.listed[listing]]:
            yield f"{listing} are {theirs.listed[listing]}"
    for call, expected, seen in zip(ours.calls, ours.answers, theirs.answers, strict=True):
        if client.resolves_uris and "/.." in call["name"]:
            if "error" not in seen:
                yield f"{call}: was answered"
            continue
        for field in FIELDS:
            if field_of(seen, field) != field_of(expected, field):
                yield f"{call}: {field} is {field_of(seen, field)!r:.500} instead of {field_of(expected, field)!r:.500}"


def name_of(item: Mapping[str, Any]) -> str:
    return str(item["name"])


def field_of(saw: Mapping[str, Any], field: str) -> Any:
    """One field of a result or an error. TypeScript 1 puts the code before the text of a protocol error."""
    if "error" not in saw:
        return saw["result"].get(field)
    error = saw["error"]
    return error["message"].removeprefix(f"MCP error {error['code']}: ") if field == "message" else error.get(field)
