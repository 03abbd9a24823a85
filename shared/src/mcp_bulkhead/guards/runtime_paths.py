"""What a program must still be able to read once it is fenced in: interpreter, libraries, certificates, names, time.

Chosen narrowly. A whole prefix may be somebody's home, `/etc/ssl` holds private keys, and the folder in which a server
was started may be any: of these only the parts that a program loads are named.
"""

import ssl
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Final, cast

PREFIX_PARTS: Final = ("bin", "lib", "lib32", "lib64", "libexec", "share", "ssl", "pyvenv.cfg")
LIBRARIES: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/nix/store", "/gnu/store",
    "/etc/ld.so.cache", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path",
)  # fmt: skip
CERTIFICATES: Final = (
    "/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf", "/etc/pki/ca-trust", "/etc/ca-certificates", "/etc/crypto-policies",
    "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
)  # fmt: skip
# Resolvers that keep resolv.conf elsewhere replace it as they please: there the folder is named, not the file.
NAMES: Final = (
    "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
    "/etc/resolv.conf", "/run/systemd/resolve", "/run/resolvconf",
)  # fmt: skip
TIME: Final = ("/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo")
# `mimetypes` opens whichever of these it can stat, and takes a refusal for a crash.
MEDIA_TYPES: Final = (
    "/etc/mime.types", "/etc/apache2/mime.types", "/etc/apache/mime.types", "/etc/httpd/mime.types",
    "/etc/httpd/conf/mime.types",
)  # fmt: skip
DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def interpreter_paths() -> tuple[Path, ...]:
    """What this process may need to read after its own fence is up, for imports that come late among other things."""
    site = f"/etc/python{sys.version_info.major}.{sys.version_info.minor}"
    own = (*_prefixes(), *_import_paths(sys.path), *_loaded(sys.modules), *_openssl(), site)
    return _existing((*own, *LIBRARIES, *CERTIFICATES, *NAMES, *TIME, *MEDIA_TYPES, *DEVICES))


def system_paths() -> tuple[Path, ...]:
    """What a program of the system may need to read, as a child behind a fence of its own. Nothing of ours."""
    return _existing(("/usr", "/bin", "/sbin", *LIBRARIES, *CERTIFICATES, *NAMES, *TIME, *DEVICES))


def loaders() -> tuple[Path, ...]:
    """The dynamic loader this process was started with. The kernel starts it first, for any program that needs one."""
    lines = (line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines())
    mapped = {Path(parts[5]) for parts in lines if len(parts) > 5}  # noqa: PLR2004 - the sixth column is the file
    return tuple(sorted(path for path in mapped if path.name.startswith("ld-")))


def _existing(paths: Iterable[str]) -> tuple[Path, ...]:
    """Each once, and none that lies below another one."""
    found: list[Path] = []
    above: tuple[str, ...] = ()
    for path in sorted(set(paths)):
        if (".." in path or not path.startswith(above)) and Path(path).exists():
            found.append(Path(path))
            above = (*above, f"{path}/")
    return tuple(found)


def _prefixes() -> Iterator[str]:
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield from (f"{prefix}/{part}" for part in PREFIX_PARTS)


def _import_paths(search: Iterable[str]) -> Iterator[str]:
    """Where modules are looked for; not the first place, unless asked for: it is where the program was started."""
    everything = _home_and_above()
    for place, entry in enumerate(search):
        if entry and (place or sys.flags.safe_path) and (real := Path(entry).resolve()) not in everything:
            yield str(real)


def _home_and_above() -> tuple[Path, ...]:
    try:
        home = Path.home().resolve()
    except RuntimeError:  # a user whom the system does not know
        home = Path("/")
    return home, *home.parents


def _loaded(modules: Mapping[str, ModuleType]) -> Iterator[str]:
    """Packages in use, wherever they came from: the folder of a fork under work, an editable install's own finder."""
    for name, module in list(modules.items()):
        if "." in name:
            continue
        known = cast("dict[str, object]", getattr(module, "__dict__", {}))
        if folders := known.get("__path__"):
            yield from cast("Iterable[str]", folders)
        elif file := known.get("__file__"):
            yield str(file)


def _openssl() -> Iterator[str]:
    """Where this build of OpenSSL, or the operator's SSL_CERT_FILE and SSL_CERT_DIR, keep what is trusted."""
    where = ssl.get_default_verify_paths()
    yield from (path for path in (where.cafile, where.capath) if path)
