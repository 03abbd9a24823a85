"""The rules of Windows names. They are text, and so tested on every system; the handles behind them are not."""

import pytest

from mcp_bulkhead.errors import Invalid
from mcp_bulkhead.guards.windows_names import below, path_after_drive_slash, windows_parts


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("", []),
        (".", []),
        ("a", ["a"]),
        ("a\\b/c", ["a", "b", "c"]),
        ("a//b\\\\c/", ["a", "b", "c"]),
        ("a/../b", ["b"]),
        ("a\\..\\", []),
        (".env", [".env"]),
        ("con-fig", ["con-fig"]),
        ("com10", ["com10"]),
        ("nullable", ["nullable"]),
        ("~", ["~"]),
        ("caf\u00e9", ["caf\u00e9"]),
    ],
)
def test_both_slashes_separate_names(path: str, parts: list[str]):
    assert windows_parts(path) == parts


@pytest.mark.parametrize("path", ["..", "a/../..", "..\\x", "a\\..\\..\\b", "/", "/etc", "\\Windows", "\\"])
def test_a_path_that_leaves_is_refused(path: str):
    with pytest.raises(OSError, match=r"[Cc]ross-device|18") as failed:
        windows_parts(path)
    assert failed.value.errno == 18


@pytest.mark.parametrize(
    "path",
    [
        "C:",
        "C:\\Windows",
        "c:/x",
        "c:x",
        "file:stream",
        "file::$DATA",
        "a/b:c/d",
        "\\\\server\\share\\x",
        "//server/share/x",
        "\\\\?\\C:\\x",
        "\\\\.\\pipe\\x",
        "//?/C:/x",
        "//./COM1",
        "con",
        "CON",
        "a/nul",
        "nul.txt",
        "nul .txt",
        "Aux.tar.gz",
        "prn",
        "com1",
        "COM9.log",
        "lpt0",
        "com\u00b9",
        "LPT\u00b3.x",
        "conin$",
        "CONOUT$",
        "clock$",
        "a.",
        "a ",
        "a/b. /c",
        "...",
        ". .",
        "a?b",
        "*",
        'a"b',
        "<",
        "a|b",
        "a\tb",
        "a\0b",
    ],
)
def test_what_windows_would_rewrite_or_send_to_a_device_is_refused(path: str):
    with pytest.raises(Invalid) as failed:
        windows_parts(path)
    assert failed.value.reason == "invalid_path"


@pytest.mark.parametrize(
    ("path", "plain"), [("/C:/x", "C:/x"), ("/c:", "c:"), ("/share/x", "/share/x"), ("/", "/"), ("/1:/x", "/1:/x")]
)
def test_a_drive_in_a_file_uri_loses_its_slash(path: str, plain: str):
    assert path_after_drive_slash(path) == plain


@pytest.mark.parametrize(
    ("root", "final", "rel"),
    [
        (r"\\?\C:\work", r"\\?\C:\work", ""),
        (r"\\?\C:\work", r"\\?\C:\work\a\b.txt", "a/b.txt"),
        ("\\\\?\\C:\\", r"\\?\C:\a", "a"),
        (r"\\?\UNC\server\share\work", r"\\?\UNC\server\share\work\a", "a"),
    ],
)
def test_a_final_path_below_the_root_becomes_relative(root: str, final: str, rel: str):
    assert below(root, final) == rel


@pytest.mark.parametrize(
    "final",
    [
        r"\\?\C:\work2",
        r"\\?\C:\work2\a",
        r"\\?\C:\wor",
        r"\\?\D:\work\a",
        r"\\?\C:\WORK\a",
        r"\\?\UNC\server\work\a",
        "\\\\?\\C:\\",
        "",
    ],
)
def test_a_final_path_elsewhere_is_refused(final: str):
    with pytest.raises(OSError, match=r".") as failed:
        below(r"\\?\C:\work", final)
    assert failed.value.errno == 18
