"""Data quality at the door: what an editor's software writes is corrected where there is no doubt (SPEC §10, §16, §17).

Prefixes of national identifiers whose type tells which, French phone numbers, the notation of a slot's times, empty
elements, the coding of the other version of the guide beside that of one. Messages (accounts, appointments) are
somebody else's words and stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import phonenumbers

from fhirstore.plugins import Issue, Write
from fhirstore_sas.configuration import LATEST, PREVIOUS, SasConfiguration
from fhirstore_sas.demands import CPTS_ORGANIZATION, claimed_version
from fhirstore_sas.forms import FINESS
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import (
    FR_CORE_V2_0203,
    FR_LOCATION_IDENTIFIER_TYPE,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
    profile_names,
)
from fhirstore_sas.parts import Part

OPTION = "sas.corrections"

TYPES = frozenset(
    ("Practitioner", "PractitionerRole", "Organization", "Location", "HealthcareService", "Schedule", "Slot")
)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_USUAL = len("2026-12-07T09:00:00.000+01:00")
"""An instant of this length that does not end with Z is written as wanted."""
_OVERSEAS_AND_FRANCE = ("RE", "YT", "GP", "GF", "MQ", "FR")
"""National numbers are those of the region where they are valid; no number is valid in two of them."""
_PREFIXES = {
    IDNPS_SYSTEM: {"RPPS": "8", "ADELI": "0", "IDNPS": "80"},
    IDNST_SYSTEM: {"FINEJ": "1", "FINEG": "1", "SIRET": "3", "IDNST": "1"},
}
"""By system and code of the type: the prefixes that may be completed. An IDNST of 14 digits may be a SIRET or an RPPS
rang, so its type does not tell."""


_TYPE_OF_CPTS = {LATEST: FR_CORE_V2_0203, PREVIOUS: FR_LOCATION_IDENTIFIER_TYPE}
"""By version of the guide: the code system of IDNST in the identifier of a CPTS."""


def are_wanted(write: Write, configuration: SasConfiguration) -> bool:
    """A resource of the editor's is being stored; `$validate` judges it as it is."""
    return (
        write.type in TYPES
        and write.resource is not None
        and write.interaction != "validate"
        and configuration.corrections
    )


def correct(resource: dict[str, Any], guide: str = LATEST) -> list[Issue]:
    """Corrects a resource in place; an information for each correction. guide: the version that writes are held to."""
    type = str(resource.get("resourceType"))
    found = list(_object(resource, type))
    if type == "Slot":
        found += _times(resource)
    elif type == "Organization":
        found += _cpts_types(resource, guide)
    return found


def _cpts_types(organization: dict[str, Any], guide: str) -> Iterator[Issue]:
    """A CPTS that has the coding of the other version alone gets that of the version that it is held to beside it: both
    satisfy both (SPEC §17; §20, no. 13). guide: the version where it claims none."""
    claimed = claimed_version(organization, CPTS_ORGANIZATION, guide)
    if claimed is None and "sas-sos-organization-aggregator" in profile_names(organization):
        return
    identifiers = organization.get("identifier")
    for n, one in enumerate(identifiers if isinstance(identifiers, list) else ()):
        known = _cpts_codings(one)
        if claimed is None and known == [PREVIOUS] and not FINESS.fullmatch(Part("", one).get("value").text):
            continue  # an association of SOS Médecins has the same type
        version = claimed or guide
        if known and version in _TYPE_OF_CPTS and version not in known:
            codings, system = one["type"]["coding"], _TYPE_OF_CPTS[version]
            codings.insert(0 if version == LATEST else len(codings), {"system": system, "code": "IDNST"})
            where = f"Organization.identifier[{n}].type"
            yield _note(where, f"{system}#IDNST, of version {version} of the guide, was added")


def _cpts_codings(identifier: Any) -> list[str]:
    """The versions of the guide whose type of a CPTS a structure id has."""
    one = Part("", identifier)
    if one.get("system").text != IDNST_SYSTEM:
        return []
    given = list(one.get("type").codings())
    return [version for version, system in _TYPE_OF_CPTS.items() if (system, "IDNST") in given]


def _times(slot: dict[str, Any]) -> Iterator[Issue]:
    for name in ("start", "end"):
        value = slot.get(name)
        if not isinstance(value, str) or (len(value) == _USUAL and value[-1] != "Z"):
            continue
        written = with_milliseconds(value)
        if written is not None:
            slot[name] = written
            yield _note(f"Slot.{name}", f"{value} was written with milliseconds and offset: {written}")


def with_milliseconds(text: str) -> str | None:
    """An instant as the platform wants it, three digits of milliseconds and a numeric offset (SPEC §3.2), the same
    time to the microsecond; None where it is so already, finer than that, or no instant."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    head, fraction, offset = found.group(1), (found.group(2) or "").rstrip("0"), found.group(3)
    written = f"{head}.{fraction:0<3}{'+00:00' if offset == 'Z' else offset}"
    return written if len(fraction) <= 3 and written != text else None


def _object(one: dict[str, Any], path: str) -> Iterator[Issue]:
    for name in list(one):
        where = f"{path}.{name}"
        yield from _inside(one[name], where)
        # What stands in an array beside extensions of its items keeps its place there.
        if isinstance(one[name], list) and f"_{name}" not in one and not name.startswith("_"):
            yield from _shortened(one[name], where)
        if _is_empty(one[name]):
            del one[name]
            yield _note(where, "the empty element was left out")
    if "system" in one and "value" in one:
        yield from _phone(one, path) if one["system"] == "phone" else _identifier(one, path)


def _inside(value: Any, where: str) -> Iterator[Issue]:
    if isinstance(value, dict):
        yield from _object(value, where)
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _inside(item, f"{where}[{n}]")


def _shortened(items: list[Any], where: str) -> Iterator[Issue]:
    kept = [item for item in items if not _is_empty(item)]
    if kept and len(kept) < len(items):
        yield _note(where, f"{len(items) - len(kept)} empty items were left out")
    items[:] = kept


def _is_empty(value: Any) -> bool:
    return value in ({}, []) or (isinstance(value, str) and not value.strip())


def _identifier(one: dict[str, Any], path: str) -> Iterator[Issue]:
    system, value = one["system"], one["value"]
    if not (isinstance(system, str) and isinstance(value, str)) or system not in _PREFIXES:
        return
    allowed = {prefix for code in _codes(one) for prefix in _PREFIXES[system].get(code, "")}
    prefixed = with_prefix(system, value)
    if prefixed is not None and prefixed != value and prefixed[0] in allowed:
        one["value"] = prefixed
        yield _note(f"{path}.value", f"{value} was completed by its prefix: {prefixed}")


def _codes(identifier: dict[str, Any]) -> Iterator[str]:
    kind = identifier.get("type")
    codings = kind.get("coding") if isinstance(kind, dict) else None
    for coding in codings if isinstance(codings, list) else ():
        if isinstance(coding, dict) and isinstance(coding.get("code"), str):
            yield coding["code"]


def _phone(one: dict[str, Any], path: str) -> Iterator[Issue]:
    value = one["value"]
    written = international(value) if isinstance(value, str) else None
    if written is not None and written != value:
        one["value"] = written
        yield _note(f"{path}.value", f"{value!r} was written internationally: {written}")


def international(text: str) -> str | None:
    """A valid phone number as +33299000000; None for anything else, such as short numbers."""
    for region in _OVERSEAS_AND_FRANCE:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            return None
        known = phonenumbers.region_code_for_number(number)
        is_whole = phonenumbers.is_valid_number(number) and not number.extension
        if is_whole and (text.strip()[:1] == "+" or known == region):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def _note(where: str, what: str) -> Issue:
    return Issue("information", "informational", f"{where}: {what} ({OPTION}=off leaves it as it is).", (where,))
