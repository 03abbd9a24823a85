"""Where a cut answer goes on: a signed position, kept by the client, not by us.

The token says only *where*; it is bound by HMAC to who may go on, in which tool and over which arguments, so that it
means nothing in any other call. There is no server-side store: any worker with the same key can go on.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, Final

from ..errors import BadCursor

MAC_BYTES: Final = 16
LIFETIME_S: Final = 24 * 3600
HINT: Final = "Repeat the call that gave you the cursor, with the same arguments and that cursor."


def binding(caller: str, tool: str, arguments: Mapping[str, Any]) -> bytes:
    """What a token is bound to. Arguments that only size the page are left out by the caller of this function."""
    canonical = json.dumps([caller, tool, arguments], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "backslashreplace")).digest()


class Cursors:
    """Mints and opens continuation tokens with one secret key."""

    def __init__(self, key: bytes) -> None:
        self.key = hashlib.blake2b(key, digest_size=32, person=b"bulkhead-cursor").digest()

    def mint(self, position: Any, bound_to: bytes, *, now: float | None = None) -> str:
        """Seal `position` (any JSON value) for the call described by `bound_to`."""
        issued = int(time.time() if now is None else now)
        payload = json.dumps([issued, position], separators=(",", ":"), ensure_ascii=True).encode()
        return base64.urlsafe_b64encode(self.mac(payload, bound_to) + payload).rstrip(b"=").decode()

    def open(self, token: str, bound_to: bytes, *, now: float | None = None) -> Any:
        """The position inside `token`, or `BadCursor` when it is not ours, not for this call, or too old."""
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadCursor("The cursor is not one of ours.", field="cursor", hint=HINT) from error
        mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, self.mac(payload, bound_to)):
            raise BadCursor("The cursor was not issued for this call.", field="cursor", hint=HINT)
        issued, position = json.loads(payload)
        if (time.time() if now is None else now) - issued > LIFETIME_S:
            raise BadCursor("The cursor is more than a day old.", field="cursor", hint="Start again without a cursor.")
        return position

    def mac(self, payload: bytes, bound_to: bytes) -> bytes:
        return hmac.digest(self.key, bound_to + payload, "sha256")[:MAC_BYTES]
