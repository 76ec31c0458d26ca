"""Page tokens: where a page starts, signed, so that the server keeps no state between pages.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from itsdangerous import BadData, URLSafeSerializer

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message

PAGE = "_page"
_NOT_IDENTITY = frozenset((PAGE, "_format", "_pretty"))


def write_token(secret: bytes, type: str, used: Iterable[tuple[str, str]], after: list[Any], total: int | None) -> str:
    """The token of a page of the search `used` on a type. after: where the page starts. total: as far as known."""
    token = _serializer(secret, type, used).dumps([after, total])
    return token if isinstance(token, str) else token.decode()


def read_token(secret: bytes, type: str, used: Iterable[tuple[str, str]], token: str) -> tuple[list[Any], int | None]:
    """(after, total) of a token that `write_token` made for the same search. Raises FhirError 400."""
    try:
        after, total = _serializer(secret, type, used).loads(token)
    except BadData:
        raise _invalid() from None
    return after, total


def _serializer(secret: bytes, type: str, used: Iterable[tuple[str, str]]) -> URLSafeSerializer:
    """Signs tokens with a key of their search, so that a token is invalid for any other."""
    search = json.dumps([type, [pair for pair in used if pair[0] not in _NOT_IDENTITY]])
    signer = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    return URLSafeSerializer(secret, salt=search.encode(), signer_kwargs=signer)


def _invalid() -> FhirError:
    text = Message("The page token does not belong to this search. Follow the next link unchanged, or start again.")
    return error(400, "value", text, f"http.{PAGE}")
