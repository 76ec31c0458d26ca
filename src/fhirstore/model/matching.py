"""Evaluates conditions on the index entries of one resource, without a store."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore.model.conditions import (
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.indexing import IndexEntries, IndexEntry


def depends_on_others(where: Condition) -> bool:
    """Whether a condition depends on more than the index entries and the id of a resource: chains, `_has`, and
    `_lastUpdated`. `satisfies` cannot evaluate it."""
    match where:
        case And(parts) | Or(parts):
            return any(map(depends_on_others, parts))
        case Not(part):
            return depends_on_others(part)
        case Chain() | ReverseChain() | LastUpdated():
            return True
    return False


def satisfies(where: Condition, id: str, entries: IndexEntries) -> bool:
    """Whether a resource with this id and these index entries satisfies the condition. Raises TypeError for a condition
    that `depends_on_others`."""
    match where:
        case And(parts):
            return all(satisfies(part, id, entries) for part in parts)
        case Or(parts):
            return any(satisfies(part, id, entries) for part in parts)
        case Not(part):
            return not satisfies(part, id, entries)
        case Ids(ids):
            return id in ids
        case Present(param):
            return bool(entries.get(param))
        case Token() | String() | Date() | Number() | Reference() | Uri():
            return any(_fits(where, entry) for entry in entries.get(where.param, ()))
    raise TypeError(f"{type(where).__name__} depends on other resources.")


def parameters(where: Condition) -> frozenset[str]:
    """The search parameters whose entries `satisfies` reads."""
    match where:
        case And(parts) | Or(parts):
            return frozenset().union(*map(parameters, parts))
        case Not(part):
            return parameters(part)
        case Present() | Token() | String() | Date() | Number() | Reference() | Uri():
            return frozenset((where.param,))
    return frozenset()


def exact_values(where: Condition) -> Iterator[tuple[str, str]]:
    """(parameter, value) pairs, one of which each matching resource has in an index entry; none if the condition allows
    other resources too."""
    match where:
        case And(parts):
            for part in parts:
                found = list(exact_values(part))
                if found:
                    yield from found
                    return
        case Or(parts):
            each = [list(exact_values(part)) for part in parts]
            if all(each):
                yield from (pair for pairs in each for pair in pairs)
        case Token(param, _, code) if code is not None:
            yield param, code
        case Reference(param, targets):
            yield from ((param, target) for target in targets)
        case String(param, "exact", value) | Uri(param, value, "exact"):
            yield param, value


def _fits(where: Token | String | Date | Number | Reference | Uri, entry: IndexEntry) -> bool:
    match where:
        case Token(_, system, code):
            return system in (None, entry[0]) and code in (None, entry[1])
        case Reference(_, targets):
            return entry[0] in targets
        case String(_, "exact", value):
            return bool(entry[1] == value)
        case String(_, how, value):
            return bool(entry[0].startswith(value) if how == "prefix" else value in entry[0])
        case Uri(_, value, "exact"):
            return bool(entry[0] == value)
        case Uri(_, value, how):
            return bool(entry[0].startswith(value) if how == "below" else value.startswith(entry[0]))
        case Date(_, low_ge, low_lt, high_le, high_gt):
            low, high = entry
            return not (
                (low_ge is not None and low < low_ge)
                or (low_lt is not None and low >= low_lt)
                or (high_le is not None and high > high_le)
                or (high_gt is not None and high <= high_gt)
            )
    return _number_fits(where, entry)


def _number_fits(where: Number, entry: IndexEntry) -> bool:
    key, *unit = entry
    if (
        (where.ge is not None and key < where.ge)
        or (where.gt is not None and key <= where.gt)
        or (where.le is not None and key > where.le)
        or (where.lt is not None and key >= where.lt)
    ):
        return False
    if where.system is None:
        return where.code is None or where.code in unit[1:]
    return bool(unit) and unit[0] == where.system and where.code in (None, unit[1])
