"""https://hl7.org/fhir/R4/profiling.html#CapabilityStatement: which profiles a resource is checked against.

Those that the statement names as `profile` of the type, those that the resource claims, and what plugins make of them
(hook `profiles`); the setting `profile_policies` has the last word. Resources inside of it are held to what they claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from fhirstore.interactions.context import NO_REQUEST, ValidationContext
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.plugins.hookspecs import Write
from fhirstore.validation.nested import nested_resources
from fhirstore.validation.validator import POLICIES, NestedRequirements, claimed_profiles


def demands(ctx: ValidationContext, write: Write) -> list[ProfileRequirement]:
    """The profiles for a write, each once, with the strictest of its policies."""
    found: list[ProfileRequirement] = []
    served = ctx.registry.types.get(write.type)
    if served is not None and served.profile is not None:
        found.append(ProfileRequirement(served.profile, "declared"))
    found += [ProfileRequirement(profile, "claimed") for profile in claimed_profiles(write.resource)]
    ctx.plugins.hook.profiles(request=NO_REQUEST, write=write, requirements=found, context=ctx.contexts)
    return _strictest([_decided(ctx, demand, write.type) for demand in found]) if found else found


def claims_within(ctx: ValidationContext, write: Write) -> list[NestedRequirements]:
    """The profiles that resources inside of what is written (contained ones, entries of a Bundle) claim themselves, as
    plugins and settings want them understood; only resources that claim some."""
    found: list[NestedRequirements] = []
    for within in nested_resources(write.resource):
        wanted = [ProfileRequirement(profile, "claimed") for profile in claimed_profiles(within.resource)]
        if wanted:
            type, id = (str(within.resource.get(key, "")) for key in ("resourceType", "id"))
            part = Write(write.interaction, type, id, within.resource)
            ctx.plugins.hook.profiles(request=NO_REQUEST, write=part, requirements=wanted, context=ctx.contexts)
            kept = [_decided(ctx, demand, type) for demand in wanted if demand.source == "claimed"]
            found.append((within, _strictest(kept)))
    return found


def asked(ctx: ValidationContext, write: Write, profile: str) -> list[ProfileRequirement]:
    """The demand of somebody who asks for a profile, as plugins want it understood."""
    found = [ProfileRequirement(profile, "requested", "enforce")]
    ctx.plugins.hook.profiles(request=NO_REQUEST, write=write, requirements=found, context=ctx.contexts)
    text_only_severity = ctx.settings.text_only_severity
    return [
        replace(demand, text_only_severity=demand.text_only_severity or text_only_severity)
        for demand in found
        if demand.source == "requested"
    ]


@lru_cache(maxsize=16)
def read_policies(entries: tuple[str, ...]) -> Mapping[str, str]:
    """ "Slot=warn" and "http://…/Profile=off" as a mapping."""
    return {key.strip(): policy.strip() for key, _, policy in (entry.rpartition("=") for entry in entries)}


def _decided(ctx: ValidationContext, demand: ProfileRequirement, type: str) -> ProfileRequirement:
    """The demand with what the settings say where it leaves something open, and where they have the last word."""
    settings, profile = ctx.settings, demand.profile
    text_only_severity = demand.text_only_severity or settings.text_only_severity
    policies = read_policies(settings.profile_policies)
    policy = policies.get(profile) or policies.get(profile.partition("|")[0]) or policies.get(type) or demand.policy
    if policy is None and demand.source == "claimed":
        can_check = ctx.conformance.can_check(profile, text_only_severity)
        policy = settings.claimed_profiles if can_check else settings.unknown_profiles
    elif policy is None:
        policy = settings.declared_profiles if demand.source == "declared" else "enforce"
    is_open = (policy, text_only_severity) != (demand.policy, demand.text_only_severity)
    return replace(demand, policy=policy, text_only_severity=text_only_severity) if is_open else demand


def _strictest(found: Iterable[ProfileRequirement]) -> list[ProfileRequirement]:
    by_profile: dict[str, ProfileRequirement] = {}
    for demand in found:
        other = by_profile.get(demand.profile)
        if other is None or _rank(demand) > _rank(other):
            by_profile[demand.profile] = demand
    return list(by_profile.values())


def _rank(demand: ProfileRequirement) -> int:
    return POLICIES.index(demand.policy or "enforce")
