"""National identifiers, their notations, and the form that response profiles require (SPEC §3.4, §10)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from fhirstore_sas.names import (
    FR_CORE_V2_0203,
    FR_LOCATION_IDENTIFIER_TYPE,
    FR_V2_0203,
    IDNPS_SYSTEM,
    IDNST_SYSTEM,
)
from fhirstore_sas.raw_json import RawMembers, objects, raw, value

_RPPS, _BARE_RPPS = re.compile(r"8\d{11}", re.ASCII), re.compile(r"\d{11}", re.ASCII)
_ADELI, _BARE_ADELI = re.compile(r"0[0-9A-Z]{9}"), re.compile(r"[0-9A-Z]{9}")
_FINESS, _BARE_FINESS = re.compile(r"1\d[0-9AB]\d{7}", re.ASCII), re.compile(r"\d[0-9AB]\d{7}", re.ASCII)
_SIRET, _BARE_SIRET = re.compile(r"3\d{14}", re.ASCII), re.compile(r"\d{14}", re.ASCII)
_RANG = re.compile(r"4\d{14}", re.ASCII)

_NOTATIONS = {
    IDNPS_SYSTEM: ((_RPPS, _BARE_RPPS, "8"), (_ADELI, _BARE_ADELI, "0")),
    IDNST_SYSTEM: ((_FINESS, _BARE_FINESS, "1"), (_SIRET, _BARE_SIRET, "3")),
}
_PRACTITIONER_CODES = frozenset(("RPPS", "ADELI", "IDNPS"))
_STRUCTURE_CODES = frozenset(("FINEJ", "FINEG", "SIRET", "IDNST"))


@lru_cache(maxsize=8192)
def spellings(system: str | None, code: str) -> tuple[str, ...]:
    """The id as given, followed by the other notation of a national id: without or with its prefix."""
    for prefixed, bare, prefix in _NOTATIONS.get(system or "", ()):
        if prefixed.fullmatch(code):
            return (code, code[1:])
        if bare.fullmatch(code):
            return (code, prefix + code)
    return (code,)


@lru_cache(maxsize=8192)
def with_prefix(system: str, code: str) -> str | None:
    """A national id with its prefix; None if its format is unknown."""
    for prefixed, bare, prefix in _NOTATIONS[system]:
        if prefixed.fullmatch(code):
            return code
        if bare.fullmatch(code):
            return prefix + code
    return code if system == IDNST_SYSTEM and _RANG.fullmatch(code) else None


def practitioner_identifiers(stored: list[RawMembers], requested: Collection[str]) -> list[RawMembers]:
    """The identifiers that FrPractitionerAgregateur allows: national ids with prefix and type IDNPS, each once, the
    requested ones first. requested: ids with prefix."""
    kept = _reduced(stored, IDNPS_SYSTEM, _PRACTITIONER_CODES, _coding(FR_V2_0203, "IDNPS"))
    return sorted(kept.values(), key=lambda one: value(one["value"]) not in requested)


def cpts_identifier(stored: list[RawMembers]) -> list[RawMembers]:
    """The identifier that the CPTS organization profiles of 1.2.0 and 1.1.0 allow: the FINESS with a coding for each
    version (SPEC §20, no. 13). Without a FINESS, the first structure id."""
    codings = _coding(FR_CORE_V2_0203, "IDNST") + _coding(FR_LOCATION_IDENTIFIER_TYPE, "IDNST")
    return _first(_reduced(stored, IDNST_SYSTEM, _STRUCTURE_CODES, codings), _FINESS.fullmatch)


def sos_identifier(stored: list[RawMembers]) -> list[RawMembers]:
    """The identifier that the SOS organization profile allows: the SIRET. Without a SIRET, the first structure id."""
    codings = _coding(FR_LOCATION_IDENTIFIER_TYPE, "IDNST")
    return _first(_reduced(stored, IDNST_SYSTEM, _STRUCTURE_CODES, codings), _SIRET.fullmatch)


def location_identifiers(stored: list[RawMembers]) -> list[RawMembers]:
    """The identifiers with type, system and value; all if there are none."""
    return [one for one in stored if {"type", "system", "value"} <= one.keys()] or stored


def sos_location_identifiers(stored: list[RawMembers]) -> list[RawMembers]:
    """The identifiers of type INTRN; all if there are none."""
    return [one for one in stored if "INTRN" in _codes(one)] or stored


def structure_reference(organization: RawMembers) -> RawMembers:
    """PractitionerRole.organization with type and system added to its identifier (SPEC §20, no. 23)."""
    found = objects(raw([organization["identifier"]])) if "identifier" in organization else []
    if not found or "value" not in found[0] or {"type", "system"} <= found[0].keys():
        return organization
    one = found[0]
    prefixed = with_prefix(IDNST_SYSTEM, str(value(one["value"])))
    if prefixed is None or value(one.get("system")) not in (None, IDNST_SYSTEM):
        return organization
    national = _national(one, IDNST_SYSTEM, prefixed, _coding(FR_V2_0203, "IDNST"))
    return {**organization, "identifier": raw(national)}


def _reduced(
    stored: list[RawMembers], system: str, codes: frozenset[str], codings: list[dict[str, str]]
) -> dict[str, RawMembers]:
    """Value with prefix -> national identifier, in stored order."""
    kept: dict[str, RawMembers] = {}
    for one in stored:
        code = value(one.get("value"))
        if not isinstance(code, str):
            continue
        prefixed = with_prefix(system, code)
        if value(one.get("system")) == system:
            prefixed = prefixed or code
        elif prefixed is None or not codes & _codes(one):
            continue
        kept.setdefault(prefixed, _national(one, system, prefixed, codings))
    return kept


def _national(one: RawMembers, system: str, code: str, codings: list[dict[str, str]]) -> RawMembers:
    written = {"type": raw({"coding": codings}), "system": raw(system), "value": raw(code)}
    return {name: part for name, part in one.items() if name.lstrip("_") not in written} | written


def _first(found: Mapping[str, RawMembers], wanted: Callable[[str], object]) -> list[RawMembers]:
    best = next((one for code, one in found.items() if wanted(code)), next(iter(found.values()), None))
    return [] if best is None else [best]


def _coding(system: str, code: str) -> list[dict[str, str]]:
    return [{"system": system, "code": code}]


def _codes(identifier: RawMembers) -> frozenset[str]:
    type: Any = value(identifier.get("type"))
    codings = type.get("coding", ()) if isinstance(type, dict) else ()
    return frozenset(coding.get("code", "") for coding in codings if isinstance(coding, dict))
