"""Stored versions as parsed resources."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from fhirstore.model.stored import Stored

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def resource_of(stored: Stored) -> dict[str, Any]:
    """The parsed resource of a version, a new object for each call. Numbers with a fraction are Decimal. A deleted
    version has only type and id."""
    meta = _decoder.decode(b"{" + stored.meta + b"}")
    head = {"resourceType": stored.type, "id": stored.id} | ({"meta": meta} if meta else {})
    return head | _decoder.decode(b"{" + stored.body + b"}")
