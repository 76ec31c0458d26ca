"""https://hl7.org/fhir/R4/profiling.html#CapabilityStatement: which profiles a resource is checked against.

Those that the statement names as `profile` of the type, those that the resource claims, and what plugins make of them
(hook `profiles`); the setting `profile_policies` has the last word. Resources inside of it are held to what they claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from fhirstore.interactions.context import Judging
from fhirstore.plugins.hookspecs import Demand, Write
from fhirstore.validation.conformance import POLICIES, Inner, claimed
from fhirstore.validation.within import resources_within


def demands(ctx: Judging, write: Write) -> list[Demand]:
    """The profiles for a write, each once, with the strictest of its policies."""
    found: list[Demand] = []
    served = ctx.registry.types.get(write.type)
    if served is not None and served.profile is not None:
        found.append(Demand(served.profile, "declared"))
    found += [Demand(profile, "claimed") for profile in claimed(write.resource)]
    ctx.plugins.hook.profiles(write=write, demands=found, registry=ctx.registry, options=ctx.options)
    return _strictest([_decided(ctx, demand, write.type) for demand in found]) if found else found


def claims_within(ctx: Judging, write: Write) -> list[Inner]:
    """The profiles that resources inside of what is written (contained ones, entries of a Bundle) claim themselves, as
    plugins and settings want them understood; only resources that claim some."""
    found: list[Inner] = []
    for within in resources_within(write.resource):
        wanted = [Demand(profile, "claimed") for profile in claimed(within.resource)]
        if wanted:
            type, id = (str(within.resource.get(key, "")) for key in ("resourceType", "id"))
            part = Write(write.interaction, type, id, within.resource)
            ctx.plugins.hook.profiles(write=part, demands=wanted, registry=ctx.registry, options=ctx.options)
            kept = [_decided(ctx, demand, type) for demand in wanted if demand.source == "claimed"]
            found.append((within, _strictest(kept)))
    return found


def asked(ctx: Judging, write: Write, profile: str) -> list[Demand]:
    """The demand of somebody who asks for a profile, as plugins want it understood."""
    found = [Demand(profile, "asked", "enforce")]
    ctx.plugins.hook.profiles(write=write, demands=found, registry=ctx.registry, options=ctx.options)
    uncoded = ctx.settings.uncoded
    return [replace(demand, uncoded=demand.uncoded or uncoded) for demand in found if demand.source == "asked"]


@lru_cache(maxsize=16)
def read_policies(entries: tuple[str, ...]) -> Mapping[str, str]:
    """ "Slot=warn" and "http://…/Profile=off" as a mapping."""
    return {key.strip(): policy.strip() for key, _, policy in (entry.rpartition("=") for entry in entries)}


def _decided(ctx: Judging, demand: Demand, type: str) -> Demand:
    """The demand with what the settings say where it leaves something open, and where they have the last word."""
    settings, profile = ctx.settings, demand.profile
    uncoded = demand.uncoded or settings.uncoded
    policies = read_policies(settings.profile_policies)
    policy = policies.get(profile) or policies.get(profile.partition("|")[0]) or policies.get(type) or demand.policy
    if policy is None and demand.source == "claimed":
        can_check = ctx.conformance.can_check(profile, uncoded)
        policy = settings.claimed_profiles if can_check else settings.unknown_profiles
    elif policy is None:
        policy = settings.declared_profiles if demand.source == "declared" else "enforce"
    is_open = (policy, uncoded) != (demand.policy, demand.uncoded)
    return replace(demand, policy=policy, uncoded=uncoded) if is_open else demand


def _strictest(found: Iterable[Demand]) -> list[Demand]:
    by_profile: dict[str, Demand] = {}
    for demand in found:
        other = by_profile.get(demand.profile)
        if other is None or _rank(demand) > _rank(other):
            by_profile[demand.profile] = demand
    return list(by_profile.values())


def _rank(demand: Demand) -> int:
    return POLICIES.index(demand.policy or "enforce")
