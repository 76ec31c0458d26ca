"""Which resources of the store belong to packages; clients cannot change them (docs/adr/0007)."""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.errors import error
from fhirstore.store.protocol import Store

OWNED = "package"
"""Records: "Type/id" -> the package ("name#version") that the resource belongs to."""


def read_owned(store: Store) -> dict[str, str]:
    """By "Type/id", the package that a resource of the store belongs to."""
    owned: dict[str, str] = {}
    after = ""
    while found := store.records(OWNED, after):
        owned |= {r.key: (r.value or b"").decode() for r in found}
        after = found[-1].key
    return owned


def refuse_packaged(owned: Mapping[str, str], type: str, id: str, where: str | None = None) -> None:
    """Raises 403 when the resource belongs to a package. where: FHIRPath of the resource inside its Bundle."""
    label = owned.get(f"{type}/{id}")
    if label is not None:
        name, _, version = label.partition("#")
        text = (
            f"{type}/{id} belongs to the package {name} {version} and is read-only: it changes with the package "
            "(fhirstore package add, remove). A resource of your own has another id and another url."
        )
        raise error(403, "forbidden", text, where or type)
