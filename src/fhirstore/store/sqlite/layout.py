"""How index entries are stored in the tables, and the numbers of parameters and of compound indexes.

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
from typing import NamedTuple

from fhirstore.model.indexing import ParameterKind
from fhirstore.store.schema_rules import declared_parameter

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
        """Raises ValueError if the schema does not declare the parameter."""
        return declared_parameter(self.params, type, code)


_ESCAPES = str.maketrans({"\\": "\\\\", "|": "\\p", "\0": "\\0"})


def packed(*parts: str) -> str:
    """Joins the parts with "|" and escapes their bars, so that different parts give different texts."""
    return "|".join([part.translate(_ESCAPES) for part in parts])
