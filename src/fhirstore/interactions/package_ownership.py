"""Which stored resources belong to packages: clients cannot change them (docs/adr/0007)."""

from __future__ import annotations

from fhirstore.errors import FhirError, error
from fhirstore.model.messages import Message
from fhirstore.store.protocol import Store

RECORD_KIND = "package"
"""Records: "Type/id" -> the package ("name#version") that the resource belongs to."""


def read_package_owners(store: Store) -> dict[str, str]:
    """By "Type/id" of a stored resource, the package ("name#version") that it belongs to."""
    owners: dict[str, str] = {}
    after = ""
    while found := store.records(RECORD_KIND, after):
        owners |= {r.key: (r.value or b"").decode() for r in found}
        after = found[-1].key
    return owners


def package_owned(label: str, type: str, id: str, where: str | None = None) -> FhirError:
    """The refusal (403) to change a resource that belongs to a package. label: "name#version". where: FHIRPath of the
    resource in its Bundle."""
    name, _, version = label.partition("#")
    text = Message(
        "{type}/{id} belongs to the package {name} {version} and is read-only. It changes "
        "only with the package (fhirstore package add, remove). Store your own resource "
        "under another id and url.",
        type=type,
        id=id,
        name=name,
        version=version,
    )
    return error(403, "forbidden", text, where or type)
