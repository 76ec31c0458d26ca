"""SAS searches: their mode, and their condition (SPEC §3, §4; §20 no. 8 to 11, 25, 36).

The request determines the mode, not the data (SPEC §3.3). PS: slots of individual practitioners (INT_R01). CPTS: slots
shared with CPTS (INT_R04). SOS: SOS Médecins. All other searches are plain FHIR.

The condition finds identifiers with or without prefix and no regulator accounts, and applies all criteria to the same
slot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from fhirstore.plugins import (
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Date,
    Include,
    Message,
    Not,
    Or,
    Query,
    Registry,
    ReverseChain,
    Token,
    Uri,
    error,
)
from fhirstore_sas.identifiers import spellings, with_prefix
from fhirstore_sas.names import IDNPS_SYSTEM, PLATFORM, SAS, SAS_FR

FREE = Token("status", None, "free")
_MISSPELT_INCLUDE = "Location:Organization"
PRACTITIONER_CHAIN = "schedule.actor:Practitioner.identifier"
PLACE_CHAIN = "actor:Location.organization.identifier"
SLOT_CRITERIA = "_has:Slot:schedule:"
CPTS_INCLUDE = "Slot:service-type-reference"
_CPTS_INCLUDES = frozenset((("_include", CPTS_INCLUDE), ("_include", CPTS_INCLUDE + ":HealthcareService")))


@dataclass(frozen=True)
class Mode:
    """A kind of SAS search. bundle: the profile of the response. profiles: resource type -> profile of its entries; the
    response contains no other types. hidden: slot labels that the response does not contain."""

    name: str
    bundle: str
    profiles: Mapping[str, str]
    hidden: frozenset[str] = frozenset()


_AGENDA = {
    "Schedule": SAS_FR + "FrScheduleAgregateur",
    "Practitioner": SAS_FR + "FrPractitionerAgregateur",
    "PractitionerRole": SAS_FR + "FrPractitionerRoleExerciceAgregateur",
}

PS = Mode(
    "PS",
    SAS_FR + "BundleAgregateur",
    {"Slot": SAS_FR + "FrSlotAgregateur", **_AGENDA},
    hidden=frozenset(("CPTS",)),
)
CPTS = Mode(
    "CPTS",
    SAS + "sas-cpts-bundle-aggregator",
    {
        "Slot": SAS + "sas-cpts-slot-aggregator",
        **_AGENDA,
        "HealthcareService": SAS + "sas-cpts-healthcareservice-aggregator",
        "Organization": SAS + "sas-cpts-organization-aggregator",
    },
)
SOS = Mode(
    "SOS",
    SAS + "sas-sos-bundle-aggregator",
    {
        "Slot": SAS + "sas-sos-slot-aggregator",
        "Schedule": SAS + "sas-sos-schedule-aggregator",
        "Location": SAS + "sas-sos-location-aggregator",
        "Organization": SAS + "sas-sos-organization-aggregator",
    },
    hidden=frozenset(("PRO", "CPTS")),
)


def search_mode(type: str, params: Iterable[tuple[str, str]]) -> Mode | None:
    """The mode of a search on `type` with these decoded parameters; None for plain FHIR. An empty list of practitioners
    or structures is a SAS search, too: it must return no slots rather than all slots."""
    given = [(name.strip(), value.strip()) for name, value in params]
    names = {name for name, _ in given}
    if type == "Slot" and PRACTITIONER_CHAIN in names:
        return PS if _CPTS_INCLUDES.isdisjoint(given) else CPTS
    if type == "Schedule" and PLACE_CHAIN in names and any(name.startswith(SLOT_CRITERIA) for name in names):
        return SOS
    return None


@dataclass(frozen=True)
class SasSearch:
    """The parts of the request that the response depends on. requested: practitioner ids with prefix. counting: the
    request asks for the total only. whole: practitioners and roles are included, so broken chains can be detected."""

    mode: Mode
    requested: frozenset[str]
    counting: bool
    whole: bool = False


def _check_limit(query: Query, limit: int) -> None:
    """Raises FhirError 422 if a parameter of a SAS search contains more identifiers than `limit`."""
    for name, text in query.params:
        if name.strip() in (PRACTITIONER_CHAIN, PLACE_CHAIN) and text.count(",") >= limit:
            raise error(
                422,
                "too-costly",
                Message(
                    "{name} contains {count} identifiers. The limit is {limit} (sas.identifiers). Split "
                    "the search into several requests.",
                    name=name.strip(),
                    count=text.count(",") + 1,
                    limit=limit,
                ),
                f"http.{name.strip()}",
                rule="search-identifiers",
            )


def rewrite(query: Query, registry: Registry, mode: Mode, limit: int) -> tuple[Query, SasSearch]:
    """(the search with the conditions of the SAS, on one page; the parts of the request that the response depends
    on). Raises FhirError 422 if a parameter contains more identifiers than `limit`."""
    _check_limit(query, limit)
    where = _chains(query.where, registry) if _has_identifiers(query) else MATCH_NONE
    includes = query.includes
    if mode is SOS:
        query = _with_correct_include(query)
        where, includes = _same_slot(where, query.includes, query)
    elif not _requires_free(query, "status"):
        where = And((where, FREE))
    counting = query.summary == "count"
    whole = mode is not SOS and _includes_actors(query.includes)
    asked = replace(
        query,
        where=where,
        includes=includes,
        count=None,
        after=None,
        total="none",
        total_hint=None,
        summary=None if counting else query.summary,
        # The response has no entry about ignored parameters, and its self link equals the request (SPEC §3.1).
        ignored=(),
    )
    return asked, SasSearch(mode, _requested(query), counting, whole)


def account_source(registry: Registry) -> Uri:
    """The condition for regulator accounts. Raises FhirError 500 if the deployment does not index `_source`."""
    if not can_identify_accounts(registry):
        raise error(
            500,
            "not-supported",
            Message(
                "The SAS plugin identifies regulator accounts by meta.source. Declare the search "
                "parameter _source (http://hl7.org/fhir/SearchParameter/Resource-source) on "
                "Practitioner in the CapabilityStatement."
            ),
        )
    return Uri("_source", PLATFORM)


def can_identify_accounts(registry: Registry) -> bool:
    """Whether the deployment indexes `_source` of Practitioner."""
    return "_source" in registry.indexed_types.get("Practitioner", {})


def _includes_actors(includes: Iterable[Include]) -> bool:
    """Whether the response has the complete chain from slots to practitioners and roles."""
    found = {(include.source, include.param, include.target) for include in includes}
    targets = {target for source, param, target in found if (source, param) == ("Schedule", "actor")}
    has_actors = None in targets or {"Practitioner", "PractitionerRole"} <= targets
    return has_actors and bool({("Slot", "schedule", None), ("Slot", "schedule", "Schedule")} & found)


def _chains(where: Condition, registry: Registry) -> Condition:
    """The condition with both notations of identifiers in chains to practitioners and structures, and without
    accounts."""
    match where:
        case And(parts):
            return And(tuple(_chains(part, registry) for part in parts))
        case Or(parts):
            return Or(tuple(_chains(part, registry) for part in parts))
        case Not(part):
            return Not(_chains(part, registry))
        case Chain(param, "Practitioner", inner):
            return Chain(param, "Practitioner", And((_with_notations(inner), Not(account_source(registry)))))
        case Chain(param, "Organization", inner):
            return Chain(param, "Organization", _with_notations(inner))
        case Chain(param, type, inner):
            return Chain(param, type, _chains(inner, registry))
    return where


def _with_notations(where: Condition) -> Condition:
    match where:
        case And(parts):
            return And(tuple(_with_notations(part) for part in parts))
        case Or(parts):
            return Or(tuple(leaf for part in parts for leaf in _alternatives(part)))
        case Not(part):
            return Not(_with_notations(part))
    found = _alternatives(where)
    return found[0] if len(found) == 1 else Or(found)


def _alternatives(where: Condition) -> tuple[Condition, ...]:
    """The notations of an identifier, or the condition itself, for an `Or`."""
    if isinstance(where, Token):
        if where.param == "identifier" and where.system is not None and where.code is not None:
            return notations(where.system, where.code)
        return (where,)
    spelt = _with_notations(where) if isinstance(where, And | Or | Not) else where
    return spelt.parts if isinstance(spelt, Or) else (spelt,)


@lru_cache(maxsize=8192)
def notations(system: str, code: str) -> tuple[Token, ...]:
    """Conditions for an identifier as given and, if it is a national one, in its other notation."""
    return tuple(Token("identifier", system, form) for form in spellings(system, code))


def _same_slot(where: Condition, includes: tuple[Include, ...], query: Query) -> tuple[Condition, tuple[Include, ...]]:
    """The `_has:Slot:schedule:` criteria apply to the same slot, and only such slots are included (SPEC §4)."""
    parts = where.parts if isinstance(where, And) else (where,)
    slots: list[Condition] = []
    rest: list[Condition] = []
    for part in parts:
        match part:
            case ReverseChain("Slot", "schedule", inner):
                slots.append(inner)
            case _:
                rest.append(part)
    if not _requires_free(query, SLOT_CRITERIA + "status"):
        slots.append(FREE)
    slot = And(tuple(_merged(slots)))
    limited = tuple(
        replace(i, where=slot) if i.reverse and (i.source, i.param) == ("Slot", "schedule") else i for i in includes
    )
    return And((*rest, ReverseChain("Slot", "schedule", slot))), limited


def _merged(conditions: list[Condition]) -> list[Condition]:
    """The conditions with all bounds of `start` in one range. A slot has exactly one `start`."""
    out: list[Condition] = []
    bounds: dict[str, list[int]] = {}
    for condition in conditions:
        if not isinstance(condition, Date) or condition.param != "start":
            out.append(condition)
            continue
        for name in ("low_ge", "low_lt", "high_le", "high_gt"):
            bound = getattr(condition, name)
            if bound is not None:
                bounds.setdefault(name, []).append(bound)
    if bounds:
        tight = {name: (max if name in ("low_ge", "high_gt") else min)(found) for name, found in bounds.items()}
        out.append(Date("start", **tight))
    return out


def _with_correct_include(query: Query) -> Query:
    """Accepts `Location:Organization`, a misspelling in the guide (SPEC §20, no. 25)."""
    asked = [name for name, value in query.params if value.strip() == _MISSPELT_INCLUDE and name.startswith("_include")]
    if not asked:
        return query
    include = Include("Location", "organization", iterate=any(":" in name for name in asked))
    return replace(query, includes=(*query.includes, include))


def _requires_free(query: Query, name: str) -> bool:
    return any(n.strip() == name and v.strip().rpartition("|")[2] == "free" for n, v in query.params)


def _has_identifiers(query: Query) -> bool:
    """Whether each list of identifiers has an item. An empty list matches no slots rather than all slots."""
    return all(any(_codes(text)) for name, text in query.params if name.strip() in (PRACTITIONER_CHAIN, PLACE_CHAIN))


def _requested(query: Query) -> frozenset[str]:
    """The practitioner ids of the request with prefix."""
    return frozenset().union(*[_ids(text) for name, text in query.params if name.strip() == PRACTITIONER_CHAIN])


@lru_cache(maxsize=128)
def _ids(text: str) -> frozenset[str]:
    return frozenset(with_prefix(IDNPS_SYSTEM, code) or code for code in _codes(text))


def _codes(text: str) -> list[str]:
    """The values in a list of identifiers, without systems; "" for empty items."""
    return [item.strip().rpartition("|")[2] for item in text.split(",")]
