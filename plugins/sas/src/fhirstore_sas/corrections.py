"""Corrections on write: unambiguous errors of the editor's software are corrected (SPEC §10, §16, §17).

They concern prefixes of national identifiers with an unambiguous type, French phone numbers, the notation of slot
times, empty elements, and codings that differ between versions of the guide. Messages (accounts, appointments) come
from other systems and are not corrected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import phonenumbers

from fhirstore.plugins import Issue, Message
from fhirstore_sas.configuration import LATEST, PREVIOUS
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import (
    FR_CORE_V2_0203,
    FR_LOCATION_IDENTIFIER_TYPE,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
)
from fhirstore_sas.profile_requirements import CPTS_ORGANIZATION, claimed_version, profile_names
from fhirstore_sas.rules import JsonNode
from fhirstore_sas.value_formats import FINESS

OPTION = "sas.corrections"

TYPES = frozenset(
    ("Practitioner", "PractitionerRole", "Organization", "Location", "HealthcareService", "Schedule", "Slot")
)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_USUAL = len("2026-12-07T09:00:00.000+01:00")
"""Length of an instant in the notation of the platform, which has an offset and not Z."""
_OVERSEAS_AND_FRANCE = ("RE", "YT", "GP", "GF", "MQ", "FR")
"""A national number belongs to the region in which it is valid. No number is valid in two regions."""
_PREFIXES = {
    IDNPS_SYSTEM: {"RPPS": "8", "ADELI": "0", "IDNPS": "80"},
    IDNST_SYSTEM: {"FINEJ": "1", "FINEG": "1", "SIRET": "3", "IDNST": "1"},
}
"""System -> code of the type -> prefixes that can be added. The type of an IDNST of 14 digits is ambiguous: SIRET or
RPPS rang."""


_TYPE_OF_CPTS = {LATEST: FR_CORE_V2_0203, PREVIOUS: FR_LOCATION_IDENTIFIER_TYPE}
"""Version of the guide -> code system of IDNST in the identifier of a CPTS."""


def correct(resource: dict[str, Any], guide: str = LATEST) -> list[Issue]:
    """Corrects a resource in place; returns an information per correction. guide: the version that writes must conform
    to."""
    type = str(resource.get("resourceType"))
    found = list(_object(resource, type))
    if type == "Slot":
        found += _times(resource)
    elif type == "Organization":
        found += _cpts_types(resource, guide)
    return found


def _cpts_types(organization: dict[str, Any], guide: str) -> Iterator[Issue]:
    """Adds the coding of the version that a CPTS must conform to, if it has only that of the other version. With both
    codings it conforms to both versions (SPEC §17; §20, no. 13). guide: the version if it claims none."""
    claimed = claimed_version(organization, CPTS_ORGANIZATION, guide)
    if claimed is None and "sas-sos-organization-aggregator" in profile_names(organization):
        return
    identifiers = organization.get("identifier")
    for n, one in enumerate(identifiers if isinstance(identifiers, list) else ()):
        known = _cpts_codings(one)
        if claimed is None and known == [PREVIOUS] and not FINESS.fullmatch(JsonNode("", one).get("value").text):
            continue  # an association of SOS Médecins has the same type
        version = claimed or guide
        if known and version in _TYPE_OF_CPTS and version not in known:
            codings, system = one["type"]["coding"], _TYPE_OF_CPTS[version]
            codings.insert(0 if version == LATEST else len(codings), {"system": system, "code": "IDNST"})
            where = f"Organization.identifier[{n}].type"
            yield _note(
                where,
                Message(
                    "{system}#IDNST, which version {version} of the guide requires, was added",
                    system=system,
                    version=version,
                ),
            )


def _cpts_codings(identifier: Any) -> list[str]:
    """The versions of the guide whose CPTS type the identifier has."""
    one = JsonNode("", identifier)
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
            yield _note(
                f"Slot.{name}",
                Message("{value} was converted to milliseconds and offset: {written}", value=value, written=written),
            )


def with_milliseconds(text: str) -> str | None:
    """The instant with three digits of milliseconds and a numeric offset, as the platform requires (SPEC §3.2). None if
    it has this form already, is finer than milliseconds, or is not an instant."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return None
    head, fraction, offset = found.group(1), (found.group(2) or "").rstrip("0"), found.group(3)
    written = f"{head}.{fraction:0<3}{'+00:00' if offset == 'Z' else offset}"
    return written if len(fraction) <= 3 and written != text else None


def _object(one: dict[str, Any], path: str) -> Iterator[Issue]:
    for name in list(one):
        where = f"{path}.{name}"
        yield from _nested(one[name], where)
        # Items of an array with extensions of its items (`_name`) keep their positions.
        if isinstance(one[name], list) and f"_{name}" not in one and not name.startswith("_"):
            yield from _without_empty_items(one[name], where)
        if _is_empty(one[name]):
            del one[name]
            yield _note(where, Message("the empty element was removed"))
    if "system" in one and "value" in one:
        yield from _phone(one, path) if one["system"] == "phone" else _identifier(one, path)


def _nested(value: Any, where: str) -> Iterator[Issue]:
    if isinstance(value, dict):
        yield from _object(value, where)
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _nested(item, f"{where}[{n}]")


def _without_empty_items(items: list[Any], where: str) -> Iterator[Issue]:
    kept = [item for item in items if not _is_empty(item)]
    if kept and len(kept) < len(items):
        yield _note(where, Message("{count} empty items were removed", count=len(items) - len(kept)))
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
        yield _note(
            f"{path}.value",
            Message("{value} was completed with its prefix: {prefixed}", value=value, prefixed=prefixed),
        )


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
        yield _note(
            f"{path}.value",
            Message("{value} was converted to the international format: {written}", value=repr(value), written=written),
        )


def international(text: str) -> str | None:
    """A valid phone number as +33299000000; None for other texts, such as short numbers."""
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
    return Issue(
        "information",
        "informational",
        Message("{place}: {what} ({option}=off turns corrections off).", place=where, what=what, option=OPTION),
        (where,),
    )
