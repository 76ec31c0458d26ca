"""Entries of responses, reduced to what the profile allows (SPEC §3.3, §3.4, §20). Bodies that conform are not changed.

`meta` has one profile and the labels that the mode allows; the rest is unchanged. Hundreds of slots have the same few
values of `meta`, so results are cached.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec

from fhirstore_sas import identifiers
from fhirstore_sas.names import NOS, PLATFORM, SAS_FR, TRE_R66, TRE_R314
from fhirstore_sas.raw_json import RawMembers, obj, objects, raw, read, value, write

_PLATFORM = PLATFORM.encode()
_LABEL_SYSTEMS = (None, TRE_R314)
CONTAINED_LOCATION = SAS_FR + "FrLocationAgregateur"
_CPTS_CODE = b'"604"'
"""Contained in the body of each slot that has the service type of a CPTS."""
_OTHER_R66 = tuple(
    f'"{NOS}TRE_R66-CategorieEtablissement{rest}"'.encode() for rest in ("", "/TRE_R66-CategorieEtablissement")
)


class _Coding(msgspec.Struct):
    system: str = ""
    code: str = ""


class _ServiceType(msgspec.Struct):
    """The part of a service type that identifies a CPTS."""

    coding: list[_Coding] = []

    def is_cpts(self) -> bool:
        return any(c.code == "604" and "TRE_R66" in c.system for c in self.coding)


_service_types = msgspec.json.Decoder(list[_ServiceType])
_items = msgspec.json.Decoder(list[msgspec.Raw])


@lru_cache(maxsize=4096)
def stamped(meta: bytes, profile: str) -> bytes:
    """The meta with this profile instead of the stored profiles."""
    return _with_profile(read(meta), profile)


@lru_cache(maxsize=4096)
def slot_meta(meta: bytes, profile: str, hidden: frozenset[str]) -> bytes | None:
    """The meta of a slot with this profile and without hidden labels. None if responses must not contain the slot: it
    is private, has only hidden labels, or its labels cannot be read."""
    members = read(meta)
    try:
        labels = objects(members.get("security"))
    except msgspec.ValidationError:
        return None
    kept: list[RawMembers] = []
    shows_label = hides_label = False
    for coding in labels:
        label = _label(coding)
        if label == "PRIVATE":
            return None
        if label in hidden:
            hides_label = True
            continue
        shows_label = shows_label or label is not None
        kept.append(coding)
    if hides_label and not shows_label:
        return None
    if hides_label:
        members["security"] = raw(kept)
    return _with_profile(members, profile)


def _label(coding: RawMembers) -> str | None:
    """The code of a slot label in capitals, because TRE_R314 is not case-sensitive. None for labels of other systems.
    `private` is in no published system, so it is accepted in any."""
    code = value(coding.get("code"))
    if not isinstance(code, str):
        return None
    system = value(coding.get("system"))
    known = system in _LABEL_SYSTEMS or (isinstance(system, str) and ("TRE_R314" in system or "TRE-R314" in system))
    return code.upper() if known or code.lower() == "private" else None


def _with_profile(members: RawMembers, profile: str) -> bytes:
    members.pop("_profile", None)
    return write({"profile": raw([profile]), **{k: v for k, v in members.items() if k != "profile"}})


def is_account_meta(meta: bytes) -> bool:
    """Whether the meta of a Practitioner is that of a regulator account."""
    return _PLATFORM in meta and value(read(meta).get("source")) == PLATFORM


@lru_cache(maxsize=8192)
def slot_for_cpts(body: bytes) -> bytes:
    """The body with the code system of CPTS service types in the spelling of the profile (SPEC §20, no. 14)."""
    if _CPTS_CODE in body:
        for spelling in _OTHER_R66:
            body = body.replace(spelling, f'"{TRE_R66}"'.encode())
    return body


@lru_cache(maxsize=8192)
def slot(body: bytes) -> bytes:
    """The body without the service types of CPTS, whose HealthcareService is not in the response (SPEC §20, no. 35). A
    body that is not valid FHIR (stored with validation off) is unchanged."""
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
    """The service types without those of CPTS: None if there are no such types, empty if no other types remain. The
    cache is effective because the slots of a practitioner have the same service types."""
    decoded = _service_types.decode(service_types)
    kept = [one for one, one_type in zip(_items.decode(service_types), decoded, strict=True) if not one_type.is_cpts()]
    if len(kept) == len(decoded):
        return None
    return bytes(raw(kept)) if kept else b""


def practitioner(body: bytes, requested: frozenset[str]) -> tuple[bytes, bool]:
    """(the body with national identifiers only, the requested ones first; whether the order depends on the request)
    (SPEC §3.4)"""
    reduced, known = _national(body)
    if len(known) < 2:
        return reduced, False
    if known[0] in requested:
        return reduced, True
    return _identified(body, lambda stored: identifiers.practitioner_identifiers(stored, requested)), True


@lru_cache(maxsize=2048)
def _national(body: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The body with national identifiers only, in stored order, and their values."""
    members = read(_identified(body, lambda stored: identifiers.practitioner_identifiers(stored, ())))
    return write(members), tuple(str(value(one["value"])) for one in objects(members.get("identifier")))


def cpts_organization(body: bytes) -> bytes:
    """The body with the FINESS only."""
    return _identified(body, identifiers.cpts_identifier)


def sos_organization(body: bytes) -> bytes:
    """The body with the SIRET only."""
    return _identified(body, identifiers.sos_identifier)


def sos_location(body: bytes) -> bytes:
    """The body with identifiers of type INTRN only."""
    return _identified(body, identifiers.sos_location_identifiers)


@lru_cache(maxsize=2048)
def practitioner_role(body: bytes) -> bytes:
    """The body with the profile of the contained Location, and with type and system of the structure id."""
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
