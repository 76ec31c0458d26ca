"""The profiles and business rules that writes and `$validate` apply (SPEC §5, §6, §16, §20).

Message profiles always apply, response profiles if a resource claims them or if `$validate` names them. Stored
resources need not conform to the response profiles: busy slots and further identifiers of a practitioner are allowed,
because responses are reduced to the profile (`search_view`). Business rules apply with their profile.

The content of a resource determines whether it is a message: a regulator account (INT_R02) or an appointment (INT_R03).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from fhirstore.plugins import Issue, Message, ProfileRequirement, Write
from fhirstore_sas import profile_rules
from fhirstore_sas.configuration import LATEST, PREVIOUS
from fhirstore_sas.names import (
    APPOINTMENT_PROFILES,
    FR_LOCATION_IDENTIFIER_TYPE,
    IDNPS_SYSTEM,
    OPERATOR,
    PLATFORM,
    PROFILE_BASES,
    PROFILES,
    REGULATOR_PROFILE,
    SAS,
    SAS_FR,
)
from fhirstore_sas.rules import JsonNode
from fhirstore_sas.value_formats import CORSICAN_FINESS

MESSAGE_TYPES = frozenset(("Practitioner", "Appointment"))
REGULATOR = SAS + "FrPractitionerRegul"
APPOINTMENT = SAS_FR + "FrAppointmentSAS"
SOS_APPOINTMENT = SAS + "sas-sos-appointment"
MESSAGES = frozenset((REGULATOR, APPOINTMENT, SOS_APPOINTMENT))
STATUSES = ("booked", "fulfilled", "noshow", "cancelled", "pending")
"""Statuses of appointments that the platform accepts (SPEC §6.2)."""
CPTS_ORGANIZATION = SAS + "sas-cpts-organization-aggregator"
SOS_LOCATION = SAS + "sas-sos-location-aggregator"
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


def profile_names(resource: object) -> frozenset[str]:
    """The profiles of the guide that a parsed resource claims, by name without base URL and version."""
    meta = resource.get("meta") if isinstance(resource, dict) else None
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    names = set()
    for canonical in claimed if isinstance(claimed, list) else ():
        base, slash, name = canonical.partition("|")[0].rpartition("/") if isinstance(canonical, str) else ("", "", "")
        if base + slash in PROFILE_BASES:
            names.add(name)
    return frozenset(names)


def message_profile(resource: dict[str, Any] | None) -> str | None:
    """The profile of the message; None if the resource is not a message."""
    if is_account(resource):
        return REGULATOR
    if resource is not None and is_appointment(resource):
        claimed = profile_names(resource)
        is_sos = "sas-sos-appointment" in claimed or (
            "FrAppointmentSAS" not in claimed and _has_no_named_practitioner(resource)
        )
        return SOS_APPOINTMENT if is_sos else APPOINTMENT
    return None


def is_account(resource: dict[str, Any] | None) -> bool:
    """Whether the resource is a regulator account: its source is the platform, or it claims the regulator's profile.
    Practising professionals have the same type."""
    if resource is None or resource.get("resourceType") != "Practitioner":
        return False
    meta = resource.get("meta")
    source = meta.get("source") if isinstance(meta, dict) else None
    return source == PLATFORM or REGULATOR_PROFILE in profile_names(resource)


def is_appointment(resource: dict[str, Any] | None) -> bool:
    """Whether the resource is an Appointment of the SAS: it has the operator extension or claims one of its
    profiles."""
    if resource is None or resource.get("resourceType") != "Appointment":
        return False
    has_operator = any(one.get("url") == OPERATOR for one in objects(resource, "extension"))
    return has_operator or not APPOINTMENT_PROFILES.isdisjoint(profile_names(resource))


def unidentified_operators(appointment: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """The references to the regulator without identifier, with the index of their extension."""
    return [
        (n, extension["valueReference"])
        for n, extension in enumerate(objects(appointment, "extension"))
        if extension.get("url") == OPERATOR
        and isinstance(extension.get("valueReference"), dict)
        and "identifier" not in extension["valueReference"]
    ]


def _has_no_named_practitioner(appointment: dict[str, Any]) -> bool:
    """Whether no participant has an actor, as in appointments with SOS Médecins (SPEC §6.2)."""
    participants = appointment.get("participant")
    return bool(participants) and not any("actor" in one for one in objects(appointment, "participant"))


def adjust_requirements(write: Write, requirements: list[ProfileRequirement], guide: str = LATEST) -> None:
    """Changes the requirements in place: canonicals of the guide get one spelling, concepts with only text are allowed,
    response profiles of the statement and profiles of empty responses only warn, and the message profile is added.

    guide: the version of profiles that are named without a version."""
    requirements[:] = [_of_guide(one, guide) for one in requirements]
    if write.interaction != "validate" and write.resource is not None:
        requirements[:] = [_with_tolerance(one, write.resource) for one in requirements]
    if write.type == "Bundle" and _is_empty_searchset(write.resource):
        requirements[:] = [
            replace(one, policy="warn") if one.profile.partition("|")[0] in _BUNDLES_WITH_MINIMUM else one
            for one in requirements
        ]
    message = message_profile(write.resource) if write.type in MESSAGE_TYPES else None
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


def check_business_rules(resource: dict[str, Any], requirements: Sequence[ProfileRequirement]) -> list[Issue]:
    """The violations of business rules. They are warnings if the profile is not enforced."""
    binding = {r.profile.partition("|")[0]: r for r in requirements if r.policy != "off"}
    message = next((profile for profile in binding if profile in MESSAGES), None)
    found: list[Issue] = []
    if resource.get("resourceType") in MESSAGE_TYPES or message is not None:
        found += _check_message(resource, message or message_profile(resource))
    root = JsonNode(str(resource.get("resourceType")), resource)
    for profile, requirement in binding.items():
        if profile not in profile_rules.PROFILE_RULES:
            continue
        issues = profile_rules.issues(root, profile)
        is_bundle = profile in profile_rules.BUNDLE_PROFILES
        if is_bundle:
            issues += _entry_issues(root)
        if requirement.policy == "warn" and not (is_bundle and _is_empty_searchset(resource)):
            issues = [replace(issue, severity="warning") for issue in issues]
        found += issues
    if root.path == "Slot" and _ends_before_start(resource) and not any(i.rule == "slot-order" for i in found):
        found.append(profile_rules.issue("slot-order", root.get("end").fault(), "warning"))
    return found


def _entry_issues(bundle: JsonNode) -> Iterator[Issue]:
    """The issues of the entries by the profiles that they claim."""
    for entry in bundle.each("entry"):
        resource = entry.get("resource")
        for name in profile_names(resource.value):
            yield from profile_rules.issues(resource, canonical(name) or name)


def _is_empty_searchset(resource: dict[str, Any] | None) -> bool:
    """Whether a searchset has no matches. The profiles of CPTS and SOS require at least four entries, but the guide
    requires an empty Bundle in this case (SPEC §20, no. 8)."""
    return resource is not None and resource.get("total") == 0 and "entry" not in resource


def _check_message(resource: dict[str, Any], profile: str | None) -> list[Issue]:
    """The violations of the rules of a message profile; none for other profiles."""
    if profile == REGULATOR:
        return list(_check_account(resource))
    return list(_check_appointment(resource)) if profile in MESSAGES else []


def _check_account(account: dict[str, Any]) -> Iterator[Issue]:
    """Yields issues for elements that the flow requires and the profile does not (SPEC §5.4)."""
    meta = account.get("meta")
    if isinstance(meta, dict) and meta.get("source", PLATFORM) != PLATFORM:
        yield _account_needs("meta.source", Message("{platform} as its source", platform=PLATFORM))
    if not any(has_text(i, "system", "value") for i in objects(account, "identifier")):
        yield _account_needs("identifier", Message("an identifier with system and value"))
    if not isinstance(account.get("active"), bool):
        yield _account_needs("active", Message("active: true or false"))
    names = objects(account, "name")
    if not names:
        yield _account_needs("name", Message("a name with family and given"))
    for n, name in enumerate(names):
        if not has_text(name, "family"):
            yield _account_needs(f"name[{n}].family", Message("the family name"))
        given = name.get("given")
        if not isinstance(given, list) or len(given) != 1:
            yield _account_needs(f"name[{n}].given", Message("exactly one given name"))
    telecom = objects(account, "telecom")
    if not any(t.get("system") == "email" and has_text(t, "value") for t in telecom):
        yield _account_needs("telecom", Message("a telecom with system email and a value"))


def _check_appointment(appointment: dict[str, Any]) -> Iterator[Issue]:
    """Yields issues for elements that both profiles require (SPEC §6.2)."""
    identifiers = appointment.get("identifier")
    if not isinstance(identifiers, list) or len(identifiers) != 1:
        yield _appointment_needs("identifier", Message("exactly one identifier"))
    elif not (isinstance(identifiers[0], dict) and {"system", "value"} <= identifiers[0].keys()):
        yield _appointment_needs("identifier[0]", Message("an identifier with system and value"))
    if appointment.get("status") not in STATUSES:
        allowed = Message("one of the statuses that the platform accepts: {statuses}", statuses=", ".join(STATUSES))
        yield _appointment_needs("status", allowed)
    for name in ("start", "end"):
        if name not in appointment:
            yield _appointment_needs(name, Message("{name}, an instant", name=name))
    if not any(one.get("url") == OPERATOR for one in objects(appointment, "extension")):
        operator = Message("the extension {operator}, which names the regulator", operator=OPERATOR)
        yield _appointment_needs("extension", operator)
    for n, _ in unidentified_operators(appointment):
        identifier = Message(
            "the identifier of the regulator, national (system {national}) or technical (system {technical})",
            national=IDNPS_SYSTEM,
            technical=PLATFORM,
        )
        yield _appointment_needs(f"extension[{n}].valueReference.identifier", identifier)
    if not appointment.get("participant"):
        yield _appointment_needs("participant", Message("a participant"))
    if _ends_before_start(appointment):
        yield _appointment_needs("end", Message("an end after its start"))


def _ends_before_start(resource: dict[str, Any]) -> bool:
    """Whether both are instants, and the end is not after the start."""
    try:
        return datetime.fromisoformat(resource["end"]) <= datetime.fromisoformat(resource["start"])
    except (KeyError, TypeError, ValueError):
        return False


def objects(resource: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in an array member; empty if there is no such array."""
    found = resource.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def has_text(item: dict[str, Any], *names: str) -> bool:
    """Whether all these members are strings that are not blank."""
    return all(isinstance(item.get(name), str) and item[name].strip() for name in names)


def _account_needs(path: str, what: str) -> Issue:
    rule = "account-" + path.partition("[")[0].rpartition(".")[2]
    text = Message("A regulator account needs {what}.", what=what)
    return Issue("error", "business-rule", text, (f"Practitioner.{path}",), rule)


def _appointment_needs(path: str, what: str) -> Issue:
    rule = "appointment-" + path.partition("[")[0]
    text = Message("An appointment of the SAS needs {what}.", what=what)
    return Issue("error", "business-rule", text, (f"Appointment.{path}",), rule)
