"""Bodies of answer entries, reduced to what the stamped profile admits; those that fit already are not touched."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from fhirstore_sas import identifiers
from fhirstore_sas.meta_elements import stamped
from fhirstore_sas.modes import CONTAINED_LOCATION
from fhirstore_sas.names import NOS, TRE_R66
from fhirstore_sas.raw_json import RawMembers, obj, objects, raw, read, value, write

_CPTS_CODE = b'"604"'
"""Every slot body with the service type of a CPTS holds this."""
_OTHER_R66 = tuple(
    f'"{NOS}TRE_R66-CategorieEtablissement{rest}"'.encode() for rest in ("", "/TRE_R66-CategorieEtablissement")
)


class _Coding(msgspec.Struct):
    system: str = ""
    code: str = ""


class _Kind(msgspec.Struct):
    """As much of a service type as tells that of a CPTS."""

    coding: list[_Coding] = []

    def is_cpts(self) -> bool:
        return any(c.code == "604" and "TRE_R66" in c.system for c in self.coding)


_kinds = msgspec.json.Decoder(list[_Kind])
_items = msgspec.json.Decoder(list[msgspec.Raw])


@lru_cache(maxsize=8192)
def slot_for_cpts(body: bytes) -> bytes:
    """With the code system of a CPTS' service type spelt as the profile wants (SPEC §20, no. 14)."""
    if _CPTS_CODE in body:
        for spelling in _OTHER_R66:
            body = body.replace(spelling, f'"{TRE_R66}"'.encode())
    return body


@lru_cache(maxsize=8192)
def slot(body: bytes) -> bytes:
    """Without the service types of CPTS, whose HealthcareService is not in the answer (SPEC §20, no. 35). One that is
    no FHIR, stored with validation off, is sent as it is."""
    if _CPTS_CODE not in body:
        return body
    members = read(body)
    try:
        kept = _without_cpts(bytes(members["serviceType"]))
    except (KeyError, msgspec.ValidationError):
        return body
    if kept is None:
        return body
    if kept:
        members["serviceType"] = msgspec.Raw(kept)
    else:
        del members["serviceType"]
    return write(members)


@lru_cache(maxsize=2048)
def _without_cpts(service_types: bytes) -> bytes | None:
    """The service types less those of CPTS: None where there is none of these, empty where nothing is left.
    The slots of a practitioner share them."""
    kinds = _kinds.decode(service_types)
    kept = [one for one, kind in zip(_items.decode(service_types), kinds, strict=True) if not kind.is_cpts()]
    if len(kept) == len(kinds):
        return None
    return bytes(raw(kept)) if kept else b""


def practitioner(body: bytes, requested: frozenset[str]) -> tuple[bytes, bool]:
    """National identifiers only, those requested first (SPEC §3.4); and whether other requests see another order."""
    reduced, known = _national(body)
    if len(known) < 2:
        return reduced, False
    if known[0] in requested:
        return reduced, True
    return _identified(body, lambda stored: identifiers.practitioner_identifiers(stored, requested)), True


@lru_cache(maxsize=2048)
def _national(body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The body with national identifiers only, in the order stored, and their values."""
    members = read(_identified(body, lambda stored: identifiers.practitioner_identifiers(stored, ())))
    return write(members), tuple(str(value(one["value"])) for one in objects(members.get("identifier")))


def cpts_organization(body: bytes) -> bytes:
    """The FINESS alone."""
    return _identified(body, identifiers.cpts_identifier)


def sos_organization(body: bytes) -> bytes:
    """The SIRET alone."""
    return _identified(body, identifiers.sos_identifier)


def sos_location(body: bytes) -> bytes:
    """Identifiers of type INTRN."""
    return _identified(body, identifiers.sos_location_identifiers)


@lru_cache(maxsize=2048)
def practitioner_role(body: bytes) -> bytes:
    """The contained Location stamped too, the structure id with its type and system."""
    members = read(body)
    if "contained" in members:
        members["contained"] = raw([_contained(one) for one in objects(members["contained"])])
    if "organization" in members:
        members["organization"] = raw(identifiers.structure_reference(obj(members["organization"])))
    return write(members)


def _contained(one: RawMembers) -> RawMembers:
    if value(one.get("resourceType")) != "Location":
        return one
    meta = b"{" + stamped(write(obj(one.get("meta"))), CONTAINED_LOCATION) + b"}"
    head: RawMembers = {name: one[name] for name in ("resourceType", "id") if name in one}
    out: RawMembers = {**head, "meta": msgspec.Raw(meta)}
    out.update((name, part) for name, part in one.items() if name not in out)
    if "identifier" in out:
        out["identifier"] = raw(identifiers.location_identifiers(objects(out["identifier"])))
    return out


def _identified(body: bytes, reduce: Callable[[list[RawMembers]], list[RawMembers]]) -> bytes:
    members = read(body)
    if "identifier" not in members:
        return body
    kept = reduce(objects(members["identifier"]))
    if kept:
        members["identifier"] = raw(kept)
    else:
        del members["identifier"]
    return write(members)
