"""The condition of a SAS search: identifiers with or without prefix, no regulator accounts, and all criteria on the
same slot (SPEC §3, §4; §20 no. 8 to 10, 25, 36)."""

from __future__ import annotations

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
from fhirstore_sas import chains
from fhirstore_sas.identifiers import spellings, with_prefix
from fhirstore_sas.modes import PLACE_CHAIN, PRACTITIONER_CHAIN, SLOT_CRITERIA, SOS, Mode
from fhirstore_sas.names import IDNPS_SYSTEM, PLATFORM

FREE = Token("status", None, "free")
_MISSPELT_INCLUDE = "Location:Organization"


@dataclass(frozen=True)
class SasSearch:
    """The parts of the request that the response depends on. requested: practitioner ids with prefix. counting: the
    request asks for the total only. whole: practitioners and roles are included, so broken chains can be detected."""

    mode: Mode
    requested: frozenset[str]
    counting: bool
    whole: bool = False


def rewrite(query: Query, registry: Registry, mode: Mode) -> tuple[Query, SasSearch]:
    """(the search with the conditions of the SAS, on one page; the parts of the request that the response depends
    on)"""
    where = _chains(query.where, registry) if _has_identifiers(query) else MATCH_NONE
    includes = query.includes
    if mode is SOS:
        query = _with_correct_include(query)
        where, includes = _same_slot(where, query.includes, query)
    elif not _requires_free(query, "status"):
        where = And((where, FREE))
    counting = query.summary == "count"
    whole = mode is not SOS and chains.includes_actors((i.source, i.param, i.target) for i in query.includes)
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
