"""Index entries and the schema of indexes.

`search/` extracts a list of entries from each resource for each search parameter. An entry is a tuple. Its shape
depends on the kind of the parameter (`ParameterKind`):

========== ============================== ======================================================
kind       entry                          meaning
========== ============================== ======================================================
token      (system, code)                 "" if absent
string     (normal, exact)                normal = folded text, exact = as sent
date       (low, high)                    microseconds since 1970 UTC, half open [low, high)
number     (key,)                         order-preserving text of a decimal (`search.values`)
quantity   (key, system, code, unit)      key as for number; "" where absent
reference  (target,)                      "Type/id" for local ones, else the absolute URL or canonical
uri        (uri,)                         as sent
========== ============================== ======================================================

The first member of an entry is its sort key; for tokens it is the code. Engines compare sort keys and never compute
them.
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
    """A search parameter of one type. digest: changes if the entries change; then the parameter must be reindexed.

    single: no resource has more than one entry. Only such parameters can be members of a compound index.
    identifying: a token parameter with entries that few resources share, like FHIR's identifier. Conditional writes
    search by it, and an engine may let only writers of the same entry wait for one another.
    """

    code: str
    kind: ParameterKind
    single: bool
    digest: str
    identifying: bool = False


@dataclass(frozen=True, slots=True)
class CompoundIndex:
    """A compound index of 2 to 4 single-valued parameters of one type, the most selective first. Plugins declare them.

    Token members are compared by code alone, date members by their low bound."""

    type: str
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """All that an engine indexes. types: the parameters by type and code."""

    types: Mapping[str, Mapping[str, IndexedParameter]]
    compounds: tuple[CompoundIndex, ...] = ()
