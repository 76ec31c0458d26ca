"""How index entries lie in the tables: numbers of parameters, rows of an entry, rows of the compound indexes.

`ix(p, k, x, r)` holds every entry: p the parameter's number, k its sort key, x what else it says, r the resource.

========== ======= ==================
kind       k       x
========== ======= ==================
token      code    system
string     normal  exact
date       low     high
number     key     ""
quantity   key     system|code|unit
reference  target  ""
uri        uri     ""
========== ======= ==================

A date that is no instant has a second row under p + 1…4 (by its width) with k = high and x = low: what
contains an instant is then found without looking at every earlier date.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhirstore.model.indexing import IndexEntries, IndexEntry, ParameterKind

Row = tuple[int, Any, Any]  # p, k, x

STEP = 8  # numbers per parameter: its own, and those of the date widths
INSTANT = 1_000_000  # microseconds: dates up to this width need no second row
_DAY = 86_400_000_000
WIDTHS: tuple[int | None, ...] = (_DAY, 31 * _DAY, 366 * _DAY, None)  # p + 1, p + 2…: greatest width; None = any

MISSING = b""  # in compound rows: no entry; sorts above every text and number


class Param(NamedTuple):
    """A search parameter of one type and its number p."""

    p: int
    kind: ParameterKind
    single: bool


class StoredCompound(NamedTuple):
    """A compound index and its number c; params: codes, numbers: their p."""

    c: int
    params: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything indexed, by type. stamp identifies the schema it was made from."""

    stamp: str
    params: Mapping[str, Mapping[str, Param]]
    compounds: Mapping[str, Sequence[StoredCompound]]

    def param(self, type: str, code: str) -> Param:
        try:
            return self.params[type][code]
        except KeyError:
            raise ValueError(f"{type} has no indexed parameter {code!r}") from None

    def rows(self, type: str, index: IndexEntries | None) -> set[Row]:
        """The rows of `ix`, without r, for one resource. Raises ValueError for entries the schema does not allow."""
        rows: set[Row] = set()
        for code, entries in (index or {}).items():
            if not entries:
                continue
            param = self.param(type, code)
            if param.single and len(entries) > 1 and len(set(entries)) > 1:
                raise ValueError(f"{type}.{code} is declared single but has {len(entries)} entries")
            if param.kind == "date":
                rows.update(_dates(param.p, entries))
            else:
                rows.update([(param.p, *_placed(param.kind, entry)) for entry in entries])
        return rows

    def compound_rows(self, type: str, rows: set[Row]) -> list[tuple[Any, ...]]:
        """The rows (c, k1, k2, k3, k4) that belong to a resource with these rows of `ix`."""
        compounds = self.compounds.get(type)
        if not compounds or not rows:
            return []
        keys = {p: k for p, k, _ in rows}
        return [
            (index.c, *(keys.get(p, MISSING) for p in index.numbers), *("",) * (4 - len(index.numbers)))
            for index in compounds
            if any(p in keys for p in index.numbers)
        ]


def _placed(kind: ParameterKind, entry: IndexEntry) -> tuple[Any, Any]:
    if kind == "token":
        return entry[1], entry[0]
    if kind == "string":
        return entry[0], entry[1]
    if kind == "quantity":
        return entry[0], packed(entry[1], entry[2], entry[3])
    return entry[0], ""


def _dates(p: int, entries: Sequence[IndexEntry]) -> list[Row]:
    rows = []
    for low, high in entries:
        rows.append((p, low, high))
        width = high - low
        if width > INSTANT:
            offset = next(i for i, most in enumerate(WIDTHS, 1) if most is None or width <= most)
            rows.append((p + offset, high, low))
    return rows


_ESCAPES = str.maketrans({"\\": "\\\\", "|": "\\p", "\0": "\\0"})


def packed(*parts: str) -> str:
    """The parts joined by "|", unambiguous whatever they contain."""
    return "|".join([part.translate(_ESCAPES) for part in parts])
