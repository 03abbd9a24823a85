"""The gates of scripts/check judge as they say."""

import sys
from importlib import import_module
from types import ModuleType

import pytest

from .source_tree import REPOSITORY


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts" / "gates"))
    before = set(sys.modules)
    yield import_module
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "licence",
    ["MIT", "Apache-2.0 OR GPL-2.0-only", "(MIT AND PSF-2.0)", "MIT License; BSD License", "BSD-3-Clause AND (MIT)"],
)
def test_permissive_licences_are_accepted(licence: str, gate: type[ModuleType]):
    assert gate("licences").accepted(licence)


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-or-later", "LGPL-2.1-only", "MIT AND LGPL-3.0-only", "AGPL-3.0-only OR GPL-3.0-only", "UNKNOWN", ""],
)
def test_copyleft_and_unknown_licences_are_refused(licence: str, gate: type[ModuleType]):
    assert not gate("licences").accepted(licence)


def test_what_users_install_is_followed_to_the_end_and_test_tools_are_not(gate: type[ModuleType]):
    closure = gate("closure").runtime_closure(["mcp-bulkhead", "mcp-bulkhead-filesystem"])
    assert {"mcp", "anyio", "idna", "google-re2", "opentelemetry-sdk"} <= closure
    assert closure.isdisjoint({"pytest", "hypothesis", "ruff", "coverage"})


def test_the_lock_of_an_image_keeps_every_hash(gate: type[ModuleType], monkeypatch, capsys):
    monkeypatch.chdir(REPOSITORY)
    assert gate("runtime_lock").main("mcp-bulkhead-filesystem") == 0
    kept = capsys.readouterr().out.splitlines()
    assert set(kept) <= set((REPOSITORY / "requirements.lock").read_text().splitlines())
    names = {line.split("==")[0] for line in kept if "==" in line}
    assert {"mcp", "structlog"} <= names
    assert "pytest" not in names
    assert sum("--hash=sha256:" in line for line in kept) > len(names)
