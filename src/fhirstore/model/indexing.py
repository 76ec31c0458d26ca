"""Index entries and the schema of indexes.

`search/` extracts from each resource, for each search parameter, a list of entries. An entry is a plain
tuple whose shape follows from the parameter's kind (`ParameterKind`):

========== ============================== ======================================================
kind       entry                          meaning
========== ============================== ======================================================
token      (system | "", code | "")       system "" = none given; code "" = none given
string     (normal, exact)                normal = folded text, exact = as sent
date       (low, high)                    microseconds since 1970 UTC, half open [low, high)
number     (key,)                         order-preserving text of a decimal (`search.values`)
quantity   (key, system, code, unit)      key as for number; "" where absent
reference  (target,)                      "Type/id" for local ones, else the absolute URL or canonical
uri        (uri,)                         as sent
========== ============================== ======================================================

The first member of an entry is its sort key, for tokens the code; engines compare sort keys and never compute them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

ParameterKind = Literal["token", "string", "date", "number", "quantity", "reference", "uri"]
IndexEntry = tuple[Any, ...]
IndexEntries = Mapping[str, Sequence[IndexEntry]]


@dataclass(frozen=True, slots=True)
class IndexedParameter:
    """A search parameter as an engine sees it. digest changes when its meaning changes (then it must be reindexed).

    single: no resource can have more than one entry (such a parameter may stand in a compound index).
    identifying: a token parameter of which few resources share an entry, so that conditional writes ask for it
    (FHIR's identifier); an engine may let only those writers wait for one another that name the same entry.
    """

    code: str
    kind: ParameterKind
    single: bool
    digest: str
    identifying: bool = False


@dataclass(frozen=True, slots=True)
class CompoundIndex:
    """A compound index a plugin declares: single-valued parameters of one type, most selective first (2 to 4).

    Token members are compared by code alone, date members by their low bound."""

    type: str
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """Everything an engine must index: by type, its parameters; and the compound indexes."""

    types: Mapping[str, Mapping[str, IndexedParameter]]
    compounds: tuple[CompoundIndex, ...] = ()
