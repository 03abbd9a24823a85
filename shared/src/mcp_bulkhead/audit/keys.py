"""The two secrets of a log: one signs what was written, the other digests what must not be readable.

They belong to one server, not to all: a server that was taken over cannot rewrite another one's past.
"""

import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .files import locked, open_file, private_folder, read_small, replace_file
from .records import canonical
from .seals import DOMAIN, PublicKeys, key_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DIGEST_KEY_BYTES: Final = 32
DIGEST_CHARS: Final = 32
DIGEST_PREFIX: Final = "hmac:"
EPHEMERAL_PREFIX: Final = "hmac-ephemeral:"


class Keys:
    """A server's keys, made on first use and loaded when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private: Ed25519PrivateKey | None = None
        self.known: PublicKeys | None = None
        self.key_id = ""
        self.secret: bytes | None = None
        self.ephemeral = os.urandom(DIGEST_KEY_BYTES)

    def load(self) -> "Ed25519PrivateKey":
        if self.private is None:
            with locked(private_folder(self.folder) / "lock"):
                self.private, self.key_id = load_pair(self.folder)
        return self.private

    def seal(self, unsigned: bytes) -> bytes:
        """The object with its signature as last field."""
        signature = self.load().sign(DOMAIN + unsigned).hex().encode("ascii")
        return unsigned[:-1] + b',"sig":"' + signature + b'"}'

    def sealed(self, fields: Mapping[str, object]) -> bytes:
        self.load()
        return self.seal(canonical({**fields, "key": self.key_id}).encode("ascii"))

    def public(self) -> "PublicKeys":
        if self.known is None:
            self.load()
            self.known = PublicKeys.beside(self.folder)
        return self.known

    def digest(self, value: object) -> str:
        """Equal values give equal digests, to whoever holds the key; without it they cannot even be guessed at.

        While the key cannot be kept on disk, a key of this process stands in, and the prefix says so.
        """
        message = canonical(value).encode("ascii")
        try:
            if self.secret is None:
                self.secret = digest_key(self.folder)
        except OSError:
            return EPHEMERAL_PREFIX + keyed(self.ephemeral, message)
        return DIGEST_PREFIX + keyed(self.secret, message)


def keyed(secret: bytes, message: bytes) -> str:
    return hmac.digest(secret, message, "sha256").hex()[:DIGEST_CHARS]


def read_digest_key(folder: Path) -> bytes | None:
    """The digest key if this reader may have it; verifying and querying never make one."""
    try:
        secret = read_small(folder / "digest.key")
    except OSError:
        return None
    return secret if len(secret) == DIGEST_KEY_BYTES else None


def digest_key(folder: Path) -> bytes:
    if (secret := read_digest_key(folder)) is not None:
        return secret
    with locked(private_folder(folder) / "lock"):
        if not (folder / "digest.key").exists():
            replace_file(folder / "digest.key", os.urandom(DIGEST_KEY_BYTES))
    if (secret := read_digest_key(folder)) is None:
        raise OSError(f"{folder / 'digest.key'} is not a digest key")
    tighten(folder / "digest.key")
    return secret


def load_pair(folder: Path) -> "tuple[Ed25519PrivateKey, str]":
    """The signing key; the caller holds the server's lock.

    A public key without its private half, or with another one's, means that somebody moved key files about: carrying on
    with a fresh pair would make that look normal. Renaming `audit.pub` to another `*.pub` retires a pair.
    """
    private_path, public_path = folder / "audit.key", folder / "audit.pub"
    if not private_path.exists():
        if public_path.exists():
            raise OSError(f"{public_path} has lost its private key")
        make_key(private_path)
    private = read_private(private_path)
    if not public_path.exists():
        replace_file(public_path, public_pem(private))
    own = key_id(private.public_key())
    if own not in PublicKeys.of(public_path).known:
        raise OSError(f"{private_path} and {public_path} do not belong together")
    return private, own


def make_key(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    replace_file(path, pem)


def read_private(path: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    tighten(path)
    try:
        key = load_pem_private_key(read_small(path), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise OSError(f"{path} is not a key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise OSError(f"{path} is not an Ed25519 key")
    return key


def public_pem(private: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization

    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def tighten(path: Path) -> None:
    """Some volume drivers widen modes on mount; a key is narrowed again rather than the server refused."""
    if os.name != "posix":
        return
    fd = open_file(path, os.O_RDONLY)
    try:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            os.fchmod(fd, 0o600)
    finally:
        os.close(fd)
