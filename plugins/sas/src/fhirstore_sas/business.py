"""Rules of business on what is written and what `$validate` is given (SPEC §5, §6, §16, §20).

They bind where the profile does: messages always, answers where a resource claims their profile or is asked for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from fhirstore.plugins import Issue, ProfileRequirement
from fhirstore_sas import accounts, appointments
from fhirstore_sas.demands import APPOINTMENT, REGULATOR, SOS_APPOINTMENT, canonical
from fhirstore_sas.names import profile_names
from fhirstore_sas.parts import Part
from fhirstore_sas.rules import bundles, duties


def judge(resource: dict[str, Any], demands: Sequence[ProfileRequirement]) -> list[Issue]:
    """What breaks a rule; where a profile only warns, its rules do so too."""
    binding = {d.profile.partition("|")[0]: d for d in demands if d.policy != "off"} if demands else {}
    found: list[Issue] = []
    if REGULATOR in binding or accounts.is_account(resource):
        found += accounts.check(resource)
    elif not binding.keys().isdisjoint((APPOINTMENT, SOS_APPOINTMENT)) or appointments.is_appointment(resource):
        found += appointments.check(resource)
    for profile, demand in binding.items():
        if profile in duties.DUTIES:
            is_mild = demand.policy == "warn" and not (profile in duties.BUNDLES and bundles.is_empty(resource))
            found += _softened(_by_profile(resource, profile)) if is_mild else _by_profile(resource, profile)
    return found


def _by_profile(resource: dict[str, Any], profile: str) -> Iterator[Issue]:
    root = Part(str(resource.get("resourceType")), resource)
    yield from duties.issues(root, profile)
    if profile in duties.BUNDLES:
        for entry in root.each("entry"):
            inner = entry.get("resource")
            for name in profile_names(inner.value):
                yield from duties.issues(inner, canonical(name) or name)


def _softened(issues: Iterator[Issue]) -> Iterator[Issue]:
    return (replace(issue, severity="warning") for issue in issues)
