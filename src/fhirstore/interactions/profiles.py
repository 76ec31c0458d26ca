"""Which profiles a resource is validated against: https://hl7.org/fhir/R4/profiling.html#CapabilityStatement.

These are the profile that the statement declares for the type, those that the resource claims, and the changes of
plugins (hook `profiles`). The setting `profile_policies` takes precedence. Nested resources are validated against the
profiles that they claim.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from fhirstore.formats.json import instant
from fhirstore.interactions.server import ValidationContext
from fhirstore.model.context import RequestContext
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.plugins.model import Write
from fhirstore.validation.nested import CONTAINERS, nested_resources
from fhirstore.validation.validator import POLICIES, NestedRequirements, claimed_profiles


def profile_requirements(server: ValidationContext, request: RequestContext, write: Write) -> list[ProfileRequirement]:
    """The profiles for a write, each once, with the strictest of its policies."""
    found: list[ProfileRequirement] = []
    served = server.registry.types.get(write.type)
    if served is not None and served.profile is not None:
        found.append(ProfileRequirement(served.profile, "declared"))
    if write.resource is not None and "meta" in write.resource:
        found += [ProfileRequirement(profile, "claimed") for profile in claimed_profiles(write.resource)]
    for hook, context in server.hooks.profiles:
        hook(request, write, found, context)
    return _strictest([_with_settings(server, one, write.type) for one in found]) if found else found


def nested_requirements(server: ValidationContext, request: RequestContext, write: Write) -> list[NestedRequirements]:
    """The profiles that nested resources (contained ones, entries of a Bundle) claim, for each that claims some."""
    found: list[NestedRequirements] = []
    if write.resource is None or ("contained" not in write.resource and write.type not in CONTAINERS):
        return found
    for nested in nested_resources(write.resource):
        claimed = [ProfileRequirement(profile, "claimed") for profile in claimed_profiles(nested.resource)]
        if claimed:
            type, id = (str(nested.resource.get(key, "")) for key in ("resourceType", "id"))
            part = Write(write.interaction, type, id, nested.resource)
            for hook, context in server.hooks.profiles:
                hook(request, part, claimed, context)
            kept = [_with_settings(server, one, type) for one in claimed if one.source == "claimed"]
            found.append((nested, _strictest(kept)))
    return found


def requested_requirements(
    server: ValidationContext, request: RequestContext, write: Write, profile: str
) -> list[ProfileRequirement]:
    """The requirements of a profile that a client asks for, after plugins have changed them."""
    found = [ProfileRequirement(profile, "requested", "enforce")]
    for hook, context in server.hooks.profiles:
        hook(request, write, found, context)
    default = server.settings.text_only_severity
    return [
        replace(one, text_only_severity=one.text_only_severity or default) for one in found if one.source == "requested"
    ]


def as_stored(write: Write) -> dict[str, Any]:
    """The resource as the server will store it, with the id, the version and the time that the server assigns
    (https://hl7.org/fhir/R4/http.html#create), so that a profile can require them. Elements that the client sends are
    kept. `$validate` without a mode judges the resource as it is.

    write: a write of a resource."""
    resource = write.resource
    assert resource is not None
    if write.interaction == "validate" or not write.id:
        return resource
    version = 1 if write.previous is None else write.previous.version + 1
    meta = {"versionId": str(version), "lastUpdated": instant(time.time_ns() // 1000)}
    sent = resource.get("meta", meta)
    # An empty object is not valid JSON of FHIR, so it stays for validation to refuse.
    return {"id": write.id, **resource, "meta": meta | sent if sent and isinstance(sent, dict) else sent}


@lru_cache(maxsize=16)
def read_policies(entries: tuple[str, ...]) -> Mapping[str, str]:
    """ "Slot=warn" and "http://…/Profile=off" as a mapping."""
    return {key.strip(): policy.strip() for key, _, policy in (entry.rpartition("=") for entry in entries)}


def _with_settings(server: ValidationContext, requirement: ProfileRequirement, type: str) -> ProfileRequirement:
    """The requirement, completed by the settings, and overridden where they take precedence."""
    settings, profile = server.settings, requirement.profile
    text_only_severity = requirement.text_only_severity or settings.text_only_severity
    policies = read_policies(settings.profile_policies)
    policy = policies.get(profile) or policies.get(profile.partition("|")[0]) or policies.get(type)
    policy = policy or requirement.policy
    if policy is None and requirement.source == "claimed":
        can_check = server.validator.can_check(profile, text_only_severity)
        policy = settings.claimed_profiles if can_check else settings.unknown_profiles
    elif policy is None:
        policy = settings.declared_profiles if requirement.source == "declared" else "enforce"
    if (policy, text_only_severity) == (requirement.policy, requirement.text_only_severity):
        return requirement
    return replace(requirement, policy=policy, text_only_severity=text_only_severity)


def _strictest(requirements: Iterable[ProfileRequirement]) -> list[ProfileRequirement]:
    by_profile: dict[str, ProfileRequirement] = {}
    for one in requirements:
        other = by_profile.get(one.profile)
        if other is None or _strictness(one) > _strictness(other):
            by_profile[one.profile] = one
    return list(by_profile.values())


def _strictness(requirement: ProfileRequirement) -> int:
    return POLICIES.index(requirement.policy or "enforce")
