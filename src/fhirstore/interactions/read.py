"""https://hl7.org/fhir/R4/http.html#read, #vread and #cread."""

from __future__ import annotations

from fhirstore.errors import error
from fhirstore.interactions.context import Server
from fhirstore.model.stored import Stored


def read(ctx: Server, type: str, id: str) -> Stored:
    """The current version. Raises 404 when there never was one, 410 when it is deleted."""
    ctx.served(type, "read")
    stored = ctx.store.read(type, id)
    if stored is None:
        raise error(404, "not-found", f"{type}/{id[:80]} does not exist.")
    return _living(stored)


def vread(ctx: Server, type: str, id: str, version: str) -> Stored:
    """One version, current or past. Raises 404 for an unknown one, 410 when that version is a deletion."""
    ctx.served(type, "vread")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 19 else 0
    stored = ctx.store.read(type, id, number) if number else None
    if stored is None:
        raise error(
            404, "not-found", f"There is no version {version[:40]} of {type}/{id[:80]}; its history lists those."
        )
    return _living(stored)


def _living(stored: Stored) -> Stored:
    if stored.deleted:
        text = f"{stored.ref} was deleted (version {stored.version}); its history has the earlier versions."
        raise error(410, "deleted", text, headers={"ETag": f'W/"{stored.version}"'})
    return stored
