"""Which profiles bind on a write: those of messages always, those of answers where a resource claims them.

Busy slots and further identifiers of a practitioner are the editor's own matter: an answer holds what its profile wants
(`answers`), whatever is stored. Messages (regulator accounts, appointments) are told apart by their content.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fhirstore.plugins import ProfileRequirement, Write
from fhirstore_sas import accounts, appointments
from fhirstore_sas.configuration import LATEST, PREVIOUS
from fhirstore_sas.forms import CORSICAN_FINESS
from fhirstore_sas.names import FR_LOCATION_IDENTIFIER_TYPE, PROFILE_BASES, PROFILES, SAS, SAS_FR, profile_names
from fhirstore_sas.parts import Part
from fhirstore_sas.rules.bundles import is_empty

REGULATOR = SAS + "FrPractitionerRegul"
APPOINTMENT = SAS_FR + "FrAppointmentSAS"
SOS_APPOINTMENT = SAS + "sas-sos-appointment"
CPTS_ORGANIZATION = SAS + "sas-cpts-organization-aggregator"
SOS_LOCATION = SAS + "sas-sos-location-aggregator"
MESSAGES = frozenset((REGULATOR, APPOINTMENT, SOS_APPOINTMENT))

_CHANGED = frozenset(
    (
        APPOINTMENT,
        SOS_APPOINTMENT,
        CPTS_ORGANIZATION,
        SAS + "sas-cpts-bundle-aggregator",
    )
)
"""The profiles that differ between the two (SPEC §17)."""
_MANY_ENTRIES = frozenset((SAS + "sas-cpts-bundle-aggregator", SAS + "sas-sos-bundle-aggregator"))
_BY_NAME = {profile.rpartition("/")[2]: profile for profile in PROFILES}
_LENIENT = "warning"
"""A specialty may be text alone (SPEC §20, no. 12)."""


def choose(write: Write, demands: list[ProfileRequirement], guide: str = LATEST) -> None:
    """Changes the demands in place: spellings of the guide's canonicals made one, text alone let pass, profiles of
    the statement made warnings, those of an empty answer too, the profile of the message added.

    guide: the version of the guide whose profiles are meant where no version is named."""
    demands[:] = [_of_guide(demand, guide) for demand in demands]
    if write.interaction != "validate" and write.resource is not None:
        demands[:] = [_softened(demand, write.resource) for demand in demands]
    if is_empty(write.resource):
        demands[:] = [replace(d, policy="warn") if d.profile.partition("|")[0] in _MANY_ENTRIES else d for d in demands]
    message = message_profile(write.resource)
    if message is not None:
        demands.append(ProfileRequirement(_versioned(message, guide), "chosen", "enforce", _LENIENT))


def _softened(demand: ProfileRequirement, resource: dict[str, Any]) -> ProfileRequirement:
    """Who asks for a profile (`$validate?profile=`) is told what it says."""
    downgraded_rules = (
        _tolerated(resource, demand.profile.partition("|")[0]) if demand.source != "requested" else frozenset()
    )
    return replace(demand, downgraded_rules=downgraded_rules) if downgraded_rules else demand


def _tolerated(resource: dict[str, Any], profile: str) -> frozenset[str]:
    """The rules of a profile that what is written may break, as the guide says elsewhere (SPEC §20, no. 15 and 28): a
    FINESS of Corsica, a place with a structure id."""
    identifiers = Part("", resource).each("identifier")
    if profile == CPTS_ORGANIZATION and any(CORSICAN_FINESS.fullmatch(i.get("value").text) for i in identifiers):
        return frozenset(("FINESS-invariant",))
    if profile == SOS_LOCATION:
        types = [(system, code) for one in identifiers for system, code in one.get("type").codings()]
        if set(types) <= {(FR_LOCATION_IDENTIFIER_TYPE, "INTRN"), (FR_LOCATION_IDENTIFIER_TYPE, "IDNST")}:
            return frozenset(("Location.identifier.type:patternCodeableConcept",))
    return frozenset()


def message_profile(resource: dict[str, Any] | None) -> str | None:
    """The profile of the message that a resource is; None = it is none."""
    if accounts.is_account(resource):
        return REGULATOR
    if resource is not None and appointments.is_appointment(resource):
        claimed = profile_names(resource)
        is_sos = "sas-sos-appointment" in claimed or (
            "FrAppointmentSAS" not in claimed and appointments.names_no_practitioner(resource)
        )
        return SOS_APPOINTMENT if is_sos else APPOINTMENT
    return None


def canonical(name: str) -> str | None:
    """The canonical of a profile of the guide, by its name alone."""
    return _BY_NAME.get(name)


def claimed_version(resource: dict[str, Any], profile: str, guide: str) -> str | None:
    """The version of the guide that a resource claims a profile of, on any base; `guide` where the claim names none;
    None = it does not claim it."""
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for canonical in claimed if isinstance(claimed, list) else ():
        url, _, version = canonical.partition("|") if isinstance(canonical, str) else ("", "", "")
        base, slash, name = url.rpartition("/")
        if base + slash in PROFILE_BASES and _BY_NAME.get(name) == profile:
            return version or guide
    return None


def _of_guide(demand: ProfileRequirement, guide: str) -> ProfileRequirement:
    url, _, version = demand.profile.partition("|")
    base, slash, name = url.rpartition("/")
    if base + slash not in PROFILE_BASES:
        return demand
    profile = _BY_NAME.get(name, demand.profile)
    is_answer = profile not in MESSAGES
    policy = "warn" if demand.source == "declared" and is_answer else demand.policy
    return replace(demand, profile=_versioned(profile, version or guide), policy=policy, text_only_severity=_LENIENT)


def _versioned(profile: str, guide: str) -> str:
    """The canonical in a version of the guide; most profiles are the same in both."""
    return f"{profile}|{PREVIOUS}" if guide == PREVIOUS and profile in _CHANGED else profile
