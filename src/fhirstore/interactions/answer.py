"""Bundles written as bytes: stored resources are spliced in, never parsed. https://hl7.org/fhir/R4/bundle.html"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from fhirstore.formats.compose import instant
from fhirstore.formats.json import dumps


def write_bundle(
    type: str,
    entries: Sequence[bytes],
    *,
    begin: bytes = b"",
    last: bytes = b"",
    updated: int,
    total: int | None = None,
    links: Iterable[tuple[str, str]] = (),
    profile: str | None = None,
) -> bytes:
    """A Bundle. entries: finished ones, less their common beginning `begin`. last: one more, whole; empty = none.
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
    if not entries:
        return b'%b,"entry":[%b]}' % (text[:-1], last) if last else text
    first, *others = entries
    others = [b'%b,"entry":[%b%b' % (text[:-1], begin, first), *others]
    others[-1] += b",%b]}" % last if last else b"]}"
    return (b"," + begin).join(others)
