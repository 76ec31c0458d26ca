"""A stored version as the parsed resource that hooks work with."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from fhirstore.model.stored import Stored

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def resource_of(stored: Stored) -> dict[str, Any]:
    """The resource of a version, anew at each call; fractions are Decimal. Of a deletion the type and id are left."""
    meta = _decoder.decode(b"{" + stored.meta + b"}")
    head = {"resourceType": stored.type, "id": stored.id} | ({"meta": meta} if meta else {})
    return head | _decoder.decode(b"{" + stored.body + b"}")
