"""Business rules for writes and `$validate` (SPEC §5, §6, §16, §20).

A rule applies if its profile applies: message profiles always, response profiles if a resource claims them or if
`$validate` names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fhirstore.plugins import Issue, ProfileRequirement
from fhirstore_sas import accounts, appointments
from fhirstore_sas.json_node import JsonNode
from fhirstore_sas.names import profile_names
from fhirstore_sas.profile_requirements import APPOINTMENT, REGULATOR, SOS_APPOINTMENT, canonical
from fhirstore_sas.rules import bundles, profile_rules


def check_business_rules(resource: dict[str, Any], requirements: Sequence[ProfileRequirement]) -> list[Issue]:
    """The violations of business rules. They are warnings if the profile is not enforced."""
    binding = {r.profile.partition("|")[0]: r for r in requirements if r.policy != "off"} if requirements else {}
    found: list[Issue] = []
    if REGULATOR in binding or accounts.is_account(resource):
        found += accounts.check(resource)
    elif not binding.keys().isdisjoint((APPOINTMENT, SOS_APPOINTMENT)) or appointments.is_appointment(resource):
        found += appointments.check(resource)
    for profile, requirement in binding.items():
        if profile in profile_rules.PROFILE_RULES:
            warns = requirement.policy == "warn" and not (
                profile in profile_rules.BUNDLE_PROFILES and bundles.is_empty(resource)
            )
            found += _downgraded(_by_profile(resource, profile)) if warns else _by_profile(resource, profile)
    return found


def _by_profile(resource: dict[str, Any], profile: str) -> Iterator[Issue]:
    root = JsonNode(str(resource.get("resourceType")), resource)
    yield from profile_rules.issues(root, profile)
    if profile in profile_rules.BUNDLE_PROFILES:
        for entry in root.each("entry"):
            inner = entry.get("resource")
            for name in profile_names(inner.value):
                yield from profile_rules.issues(inner, canonical(name) or name)


def _downgraded(issues: Iterator[Issue]) -> Iterator[Issue]:
    return (replace(issue, severity="warning") for issue in issues)
