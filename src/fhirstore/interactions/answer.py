"""Bundles written as bytes: stored resources are spliced in, never parsed. https://hl7.org/fhir/R4/bundle.html"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from fhirstore.codec.compose import instant
from fhirstore.codec.json import dumps


def write_bundle(
    type: str,
    entries: Iterable[bytes],
    *,
    updated: int,
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
    profile: str | None = None,
) -> bytes:
    """A Bundle. entries: the finished entries, in any number of pieces, each entry with a comma behind it.
    updated: microseconds, for meta.lastUpdated. Empty lists are left out."""
    meta: dict[str, Any] = {"lastUpdated": instant(updated)}
    if profile is not None:
        meta["profile"] = [profile]
    head: dict[str, Any] = {"resourceType": "Bundle", "id": str(uuid.uuid4()), "meta": meta, "type": type}
    if total is not None:
        head["total"] = total
    shown = [{"relation": relation, "url": url} for relation, url in links]
    if shown:
        head["link"] = shown
    text: bytes = dumps(head)
    pieces = [text[:-1], b',"entry":[', *entries]
    if len(pieces) == 2:
        return text
    pieces[-1] = pieces[-1][:-1]
    pieces.append(b"]}")
    return b"".join(pieces)
