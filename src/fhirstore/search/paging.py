"""Page tokens: where a page starts, signed, so that a server keeps no state between pages.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

from fhirstore.errors import FhirError, error

PAGE = "_page"
_SIGNATURE = 16  # bytes
_NOT_IDENTITY = frozenset((PAGE, "_format", "_pretty"))


def write_token(secret: bytes, type: str, used: Iterable[tuple[str, str]], after: list[Any], total: int | None) -> str:
    """A token for the page that starts after `after` of the search `used` on the type; total: what is known of it."""
    payload = json.dumps([after, total], separators=(",", ":")).encode()
    return urlsafe_b64encode(_signature(secret, type, used, payload) + payload).rstrip(b"=").decode()


def read_token(secret: bytes, type: str, used: Iterable[tuple[str, str]], token: str) -> tuple[list[Any], int | None]:
    """(after, total) of a token made by `write_token` for the same search. Raises FhirError 400."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        raise _refused() from None
    signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not hmac.compare_digest(signature, _signature(secret, type, used, payload)):
        raise _refused()
    after, total = json.loads(payload)
    return after, total


def _signature(secret: bytes, type: str, used: Iterable[tuple[str, str]], payload: bytes) -> bytes:
    search = json.dumps([type, [pair for pair in used if pair[0] not in _NOT_IDENTITY]]).encode()
    return hmac.digest(secret, len(search).to_bytes(4, "big") + search + payload, hashlib.sha256)[:_SIGNATURE]


def _refused() -> FhirError:
    return error(
        400,
        "value",
        "The page token does not belong to this search: follow the next link as it was given, or start again at the "
        "first page.",
        f"http.{PAGE}",
    )
