"""From a command line to a running server, and what is said when it does not run."""

import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_bulkhead import ServerSettings, ServerSpec, World
from mcp_bulkhead.app import KEY_BYTES, cursor_key, kept_key, redaction_of, redactor_of, run
from mcp_bulkhead.audit.chain import SLOTS
from mcp_bulkhead.audit.files import private_folder, try_lock
from mcp_bulkhead.settings import FileSecret, load
from mcp_bulkhead.testing.doors import opened
from mcp_bulkhead.testing.processes import Process, StdioCarrier, environment
from mcp_bulkhead.testing.wire import MODERN, Peer

from .conftest import HOME, Journals, Open


def test_a_missing_setting_is_named_and_the_exit_is_2(fixture_spec: ServerSpec, capsys: pytest.CaptureFixture[str]):
    assert run(fixture_spec, []) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "folder" in said.err
    assert "Traceback" not in said.err


def test_an_unknown_toolset_is_named_with_those_that_exist(fixture_spec: ServerSpec, tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-m", "bulkhead_fixture", "--toolsets", "reed", "--state-dir", str(tmp_path), str(tmp_path)],
        env=environment({"PYTHONPATH": str(HOME)}),
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"read, odd, write, or all" in ended.stderr


def test_a_process_whose_calls_could_not_be_recorded_does_not_serve(tmp_path: Path):
    folder = tmp_path / "fixture" / "audit" / "fixture"
    locks = [try_lock(private_folder(folder / f"chain-{slot}") / "lock") for slot in range(SLOTS)]
    assert None not in locks
    ended = subprocess.run(
        [sys.executable, "-m", "bulkhead_fixture", "--state-dir", str(tmp_path), str(tmp_path / "..")],
        env=environment({"PYTHONPATH": str(HOME)}),
        input=b"",
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"share one state folder" in ended.stderr
    assert b"--state-dir" in ended.stderr


def test_an_interrupt_at_start_ends_with_130_and_without_a_traceback(
    fixture_spec: ServerSpec, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: object, **__: object):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("mcp_bulkhead.app.parse", interrupted)
    assert run(fixture_spec, []) == 130
    assert capsys.readouterr().err == ""


def test_the_version_is_printed_and_nothing_is_served(fixture_spec: ServerSpec, capsys: pytest.CaptureFixture[str]):
    assert run(fixture_spec, ["--version"]) == 0
    assert capsys.readouterr().out == "mcp-bulkhead-fixture 0.0.1\n"


def test_read_only_leaves_out_what_changes_something(open_fixture: Open):
    names = [t["name"] for t in open_fixture("memory", "--read-only").connect(MODERN).request("tools/list")["tools"]]
    assert "fx_read" in names
    assert "fx_keep" not in names


def test_only_the_chosen_toolsets_are_offered(fixture_spec: ServerSpec, tmp_path: Path):
    with opened(fixture_spec, "memory", tmp_path, ["--toolsets", "write"]) as house:
        assert [tool["name"] for tool in house.connect(MODERN).request("tools/list")["tools"]] == ["fx_keep"]


def test_the_backend_is_opened_once_and_closed(open_fixture: Open, journal: Journals):
    house = open_fixture("stdio")
    house.connect(MODERN)
    house.server.processes[0].end_input()
    assert journal(house).lines() == ["opened", "closed"]


def test_the_demo_serves_a_seeded_world_and_throws_it_away(fixture_spec: ServerSpec, tmp_path: Path):
    home = str(HOME)
    world = World(environment={"PYTHONPATH": home, "TMPDIR": str(tmp_path)})
    process = Process(fixture_spec, world, tmp_path, ["--demo"])
    try:
        peer = Peer(StdioCarrier(process), MODERN)
        peer.greet()
        assert "new moon" in str(peer.call("fx_read", {"path": "tides/spring.txt"}))
        assert list(tmp_path.glob("bulkhead-fixture-*"))
        process.end_input()
        assert process.popen.returncode == 0
        assert list(tmp_path.glob("bulkhead-fixture-*")) == []
    finally:
        process.close()


def test_the_cursor_key_is_made_once_for_this_user_alone(tmp_path: Path):
    settings = load(ServerSettings, server="fixture", state_dir=tmp_path)
    key = cursor_key(settings)
    path = settings.server_state_dir / "cursor.key"
    assert len(key) == KEY_BYTES
    assert cursor_key(settings) == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_given_cursor_key_is_used_and_nothing_is_written(tmp_path: Path):
    settings = load(ServerSettings, server="fixture", state_dir=tmp_path / "none", cursor_key="k" * 32)
    assert cursor_key(settings) == b"k" * 32
    assert not (tmp_path / "none").exists()


def test_an_empty_key_file_is_replaced_once_by_processes_that_start_together(tmp_path: Path):
    path = tmp_path / "cursor.key"
    path.write_bytes(b"")
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(kept_key, [path] * 8))
    assert keys == {path.read_bytes()}
    assert len(path.read_bytes()) == KEY_BYTES
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_file_that_is_not_ours_is_not_used(tmp_path: Path):
    path = tmp_path / "cursor.key"
    path.write_bytes(b"short")
    with pytest.raises(OSError, match="not a key"):
        kept_key(path)


def test_without_a_place_to_keep_it_the_key_lasts_for_this_process(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    settings = load(ServerSettings, server="fixture", state_dir=tmp_path / "file")
    first, second = cursor_key(settings), cursor_key(settings)
    assert len(first) == len(second) == KEY_BYTES
    assert first != second


def test_a_server_without_secrets_needs_no_redaction():
    settings = load(ServerSettings, server="fixture")
    assert redaction_of(settings, redactor_of(settings)) is None


def test_redaction_follows_a_secret_that_is_replaced(tmp_path: Path):
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock, path = Clock(), tmp_path / "secret"
    path.write_text("the-first-of-two-secrets")
    settings = load(ServerSettings, server="fixture", http_token=FileSecret(path, clock=clock))
    redact = redaction_of(settings, redactor_of(settings))
    assert redact is not None
    assert "first" not in redact("[the-first-of-two-secrets]")
    path.write_text("the-second-of-two-secrets")
    clock.now = 5
    assert "second" not in redact("[the-second-of-two-secrets]")
