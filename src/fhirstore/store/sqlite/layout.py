"""How index entries are stored in the tables: numbers of parameters, rows of entries, rows of compound indexes.

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

A date that is longer than an instant has a second row under p + 1…4 (by its width) with k = high and x = low. The
periods that contain an instant are then found without a scan of all earlier dates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhirstore.model.indexing import IndexEntries, IndexEntry, ParameterKind
from fhirstore.store.schema_rules import check_entries, declared_parameter, given_entries

Row = tuple[int, Any, Any]  # p, k, x

STEP = 8  # numbers per parameter: its own, and those of the date widths
INSTANT = 1_000_000  # microseconds: dates up to this width need no second row
_DAY = 86_400_000_000
WIDTHS: tuple[int | None, ...] = (_DAY, 31 * _DAY, 366 * _DAY, None)  # p + 1, p + 2…: greatest width; None = any

MISSING = b""  # no entry, in compound rows; greater than all texts and numbers


class SqliteParameter(NamedTuple):
    """A search parameter of one type and its number p."""

    p: int
    kind: ParameterKind
    single: bool


class NumberedCompound(NamedTuple):
    """A compound index and its number c; params: codes, numbers: their p."""

    c: int
    params: tuple[str, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SqliteLayout:
    """The indexed parameters and compound indexes by type. stamp: identifies the schema, see `schema_stamp`."""

    stamp: str
    params: Mapping[str, Mapping[str, SqliteParameter]]
    compounds: Mapping[str, Sequence[NumberedCompound]]

    def param(self, type: str, code: str) -> SqliteParameter:
        return declared_parameter(self.params, type, code)

    def rows(self, type: str, index: IndexEntries | None) -> set[Row]:
        """Returns the rows of `ix`, without r, for one resource. Raises ValueError for entries that the schema does not
        allow."""
        rows: set[Row] = set()
        for code, entries in given_entries(index).items():
            param = self.param(type, code)
            check_entries(type, code, entries, param.single)
            if param.kind == "date":
                rows.update(_dates(param.p, entries))
            else:
                rows.update([(param.p, *_columns(param.kind, entry)) for entry in entries])
        return rows

    def compound_rows(self, type: str, rows: set[Row]) -> list[tuple[Any, ...]]:
        """Returns the rows (c, k1, k2, k3, k4) of `cx` for a resource with these rows of `ix`."""
        compounds = self.compounds.get(type)
        if not compounds or not rows:
            return []
        keys = {p: k for p, k, _ in rows}
        return [
            (index.c, *(keys.get(p, MISSING) for p in index.numbers), *("",) * (4 - len(index.numbers)))
            for index in compounds
            if any(p in keys for p in index.numbers)
        ]


def _columns(kind: ParameterKind, entry: IndexEntry) -> tuple[Any, Any]:
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
    """Joins the parts with "|" and escapes their bars, so that different parts give different texts."""
    return "|".join([part.translate(_ESCAPES) for part in parts])
