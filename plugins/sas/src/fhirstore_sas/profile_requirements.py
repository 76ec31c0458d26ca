"""The profiles that writes are validated against: message profiles always, response profiles if a resource claims them.

Stored resources need not conform to the response profiles: busy slots and further identifiers of a practitioner are
allowed, because responses are reduced to the profile (`search_view`). The content of a resource determines whether it
is a message (regulator account, appointment).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fhirstore.plugins import ProfileRequirement, Write
from fhirstore_sas import accounts, appointments
from fhirstore_sas.configuration import LATEST, PREVIOUS
from fhirstore_sas.json_node import JsonNode
from fhirstore_sas.names import FR_LOCATION_IDENTIFIER_TYPE, PROFILE_BASES, PROFILES, SAS, SAS_FR, profile_names
from fhirstore_sas.rules.bundles import is_empty
from fhirstore_sas.value_formats import CORSICAN_FINESS

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
"""Profiles that differ between the two versions (SPEC §17)."""
_BUNDLES_WITH_MINIMUM = frozenset((SAS + "sas-cpts-bundle-aggregator", SAS + "sas-sos-bundle-aggregator"))
_BY_NAME = {profile.rpartition("/")[2]: profile for profile in PROFILES}
_TEXT_ONLY = "warning"
"""Severity of concepts that have only text: a specialty may be a text (SPEC §20, no. 12)."""


def adjust_requirements(write: Write, requirements: list[ProfileRequirement], guide: str = LATEST) -> None:
    """Changes the requirements in place: canonicals of the guide get one spelling, concepts with only text are allowed,
    response profiles of the statement and profiles of empty responses only warn, and the message profile is added.

    guide: the version of profiles that are named without a version."""
    requirements[:] = [_of_guide(one, guide) for one in requirements]
    if write.interaction != "validate" and write.resource is not None:
        requirements[:] = [_with_tolerance(one, write.resource) for one in requirements]
    if is_empty(write.resource):
        requirements[:] = [
            replace(one, policy="warn") if one.profile.partition("|")[0] in _BUNDLES_WITH_MINIMUM else one
            for one in requirements
        ]
    message = message_profile(write.resource)
    if message is not None:
        requirements.append(ProfileRequirement(_versioned(message, guide), "chosen", "enforce", _TEXT_ONLY))


def _with_tolerance(requirement: ProfileRequirement, resource: dict[str, Any]) -> ProfileRequirement:
    """The requirement with the rules that may be violated, unless `$validate?profile=` asks for the profile."""
    downgraded_rules = (
        _tolerated(resource, requirement.profile.partition("|")[0])
        if requirement.source != "requested"
        else frozenset()
    )
    return replace(requirement, downgraded_rules=downgraded_rules) if downgraded_rules else requirement


def _tolerated(resource: dict[str, Any], profile: str) -> frozenset[str]:
    """Rules of a profile that writes may violate, because other parts of the guide allow it (SPEC §20, no. 15 and 28):
    a FINESS of Corsica, a Location with a structure id."""
    identifiers = JsonNode("", resource).each("identifier")
    if profile == CPTS_ORGANIZATION and any(CORSICAN_FINESS.fullmatch(i.get("value").text) for i in identifiers):
        return frozenset(("FINESS-invariant",))
    if profile == SOS_LOCATION:
        types = [(system, code) for one in identifiers for system, code in one.get("type").codings()]
        if set(types) <= {(FR_LOCATION_IDENTIFIER_TYPE, "INTRN"), (FR_LOCATION_IDENTIFIER_TYPE, "IDNST")}:
            return frozenset(("Location.identifier.type:patternCodeableConcept",))
    return frozenset()


def message_profile(resource: dict[str, Any] | None) -> str | None:
    """The profile of the message; None if the resource is not a message."""
    if accounts.is_account(resource):
        return REGULATOR
    if resource is not None and appointments.is_appointment(resource):
        claimed = profile_names(resource)
        is_sos = "sas-sos-appointment" in claimed or (
            "FrAppointmentSAS" not in claimed and appointments.has_no_named_practitioner(resource)
        )
        return SOS_APPOINTMENT if is_sos else APPOINTMENT
    return None


def canonical(name: str) -> str | None:
    """The canonical of a profile of the guide, by its name."""
    return _BY_NAME.get(name)


def claimed_version(resource: dict[str, Any], profile: str, guide: str) -> str | None:
    """The version in which a resource claims a profile, on any base URL; `guide` if the claim has no version; None if
    it does not claim the profile."""
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for canonical in claimed if isinstance(claimed, list) else ():
        url, _, version = canonical.partition("|") if isinstance(canonical, str) else ("", "", "")
        base, slash, name = url.rpartition("/")
        if base + slash in PROFILE_BASES and _BY_NAME.get(name) == profile:
            return version or guide
    return None


def _of_guide(requirement: ProfileRequirement, guide: str) -> ProfileRequirement:
    url, _, version = requirement.profile.partition("|")
    base, slash, name = url.rpartition("/")
    if base + slash not in PROFILE_BASES:
        return requirement
    profile = _BY_NAME.get(name, requirement.profile)
    is_response = profile not in MESSAGES
    policy = "warn" if requirement.source == "declared" and is_response else requirement.policy
    return replace(
        requirement, profile=_versioned(profile, version or guide), policy=policy, text_only_severity=_TEXT_ONLY
    )


def _versioned(profile: str, guide: str) -> str:
    """The canonical with the version of the guide, if the versions of the profile differ."""
    return f"{profile}|{PREVIOUS}" if guide == PREVIOUS and profile in _CHANGED else profile
