"""Compiles conditions to SQL.

A condition has two forms: *rows*, a query for the rids of the resources that satisfy it, and *check*, a test of one
resource. The rows of one part of an `And` are enumerated (`search.Planner` chooses it) and the other parts are checked.
SQLite's planner has no choice: indexes are named, and joins are CROSS JOINs in a fixed order.

Nested queries become common table expressions (WITH), because SQLite's parser limits nesting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, NamedTuple, Protocol

from fhirstore.model.conditions import (
    MAX_TIME,
    MIN_TIME,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Or,
    Reference,
    ReverseChain,
)
from fhirstore.store.sqlite.layout import NumberedCompound, SqliteLayout
from fhirstore.store.sqlite.normal_form import LEAVES, Codes, KeyIs, Sql, any_of, entry_test, equal, index_ranges
from fhirstore.store.text import successor

PRIMARY = "INDEXED BY sqlite_autoindex_ix_1"  # ix by p, k, x, r
_DEEPEST_CHECK = 3


@dataclass(frozen=True, slots=True)
class AccessPath:
    """Enumerates the rows of `driver`, or the rows of a compound index bounded by `members` (for its first columns, in
    order), and checks `rest` for each.

    weak: the first member of the compound index has many rows itself."""

    driver: Condition | None
    rest: tuple[Condition, ...]
    compound: NumberedCompound | None = None
    members: tuple[Condition, ...] = ()
    weak: bool = False


class AccessPaths(Protocol):
    """The choices of one search."""

    @property
    def layout(self) -> SqliteLayout: ...

    @property
    def paths(self) -> Mapping[int, tuple[Condition, AccessPath | None]]:
        """The choices so far, by the id() of the condition."""
        ...

    @property
    def lists(self) -> Mapping[int, tuple[Condition, list[int]]]:
        """The row ids that satisfy a condition, as read in the same transaction, by the id() of the condition."""
        ...

    def access_path(self, type: str, where: Condition) -> AccessPath | None:
        """How to enumerate the resources of the type that satisfy the condition. None: check all of them."""
        ...


class CheckedResource(NamedTuple):
    """The resource that is checked: its type, and SQL for its rid, id and updated."""

    type: str
    rid: str
    id: str
    updated: str
    depth: int = 0

    @classmethod
    def of_rid(cls, type: str, rid: str, depth: int = 0) -> CheckedResource:
        return cls(
            type, rid, f"(SELECT id FROM docs WHERE rid={rid})", f"(SELECT updated FROM docs WHERE rid={rid})", depth
        )

    @classmethod
    def of_docs(cls, type: str, alias: str, depth: int = 0) -> CheckedResource:
        return cls(type, f"{alias}.rid", f"{alias}.id", f"{alias}.updated", depth)


class SqlStatement:
    """Builds one SQL statement: its common table expressions and aliases."""

    def __init__(self, planner: AccessPaths):
        self._planner = planner
        self._params = planner.layout.params
        self._numbers = count()
        self._with: list[str] = []
        self._args: list[Any] = []

    def finished(self, sql: Sql) -> Sql:
        """Returns the statement with its WITH clause."""
        if not self._with:
            return sql
        return f"WITH {', '.join(self._with)} {sql[0]}", self._args + sql[1]

    def named(self, sql: Sql, columns: str = "r") -> str:
        """Names the query `sql` and its columns, and returns the name."""
        name = f"q{next(self._numbers)}"
        self._with.append(f"{name}({columns}) AS ({sql[0]})")
        self._args += sql[1]
        return name

    # --- rows: SELECT of rids, with duplicates ---

    def rows(self, type: str, where: Condition) -> Sql:
        """Returns a query for the resources of the type that satisfy the condition."""
        known = self._planner.paths.get(id(where))
        path = self._planner.access_path(type, where) if known is None else known[1]
        if path is None:
            a = self._alias("d")
            test, args = self.check(where, CheckedResource.of_docs(type, a))
            return f"SELECT {a}.rid AS r FROM docs {a} INDEXED BY docs_id WHERE {a}.type=? AND {test}", [type, *args]
        driver = self.path_rows(type, path)
        if not path.rest:
            return driver
        name, a = self.named(driver), self._alias("e")
        tests, args = self._checks(path.rest, CheckedResource.of_rid(type, f"{a}.r"))
        return f"SELECT {a}.r FROM {name} {a} WHERE {' AND '.join(tests)}", args

    def path_rows(self, type: str, path: AccessPath) -> Sql:
        if path.compound is not None:
            return self._compound_rows(type, path)
        assert path.driver is not None
        return self._enumerated(type, path.driver)

    def _enumerated(self, type: str, where: Condition) -> Sql:
        if (listed := self._planner.lists.get(id(where))) is not None:
            return "SELECT value AS r FROM json_each(?)", [str(listed[1])]
        a = self._alias("i")
        match where:
            case Or(parts):
                return self._union([self.rows(type, part) for part in parts])
            case And():
                return self.rows(type, where)
            case Ids(ids):
                test, args = equal("id", ids)
                return f"SELECT rid AS r FROM docs INDEXED BY docs_id WHERE type=? AND {test}", [type, *args]
            case LastUpdated(ge, lt):
                found = "SELECT rid AS r FROM docs INDEXED BY docs_updated WHERE type=? AND updated>=? AND updated<?"
                return found, [type, MIN_TIME if ge is None else ge, MAX_TIME if lt is None else lt]
            case KeyIs(param, key, _):
                found = f"SELECT {a}.r FROM ix {a} {PRIMARY} WHERE {a}.p=? AND {a}.k=?"
                if self._params[type][param].single:
                    return found, [self._params[type][param].p, key]
                check, args = self.check(where, CheckedResource.of_rid(type, f"{a}.r"))
                return f"{found} AND {check}", [self._params[type][param].p, key, *args]
            case Chain(param, target, inner):
                name, p = self.named(self._references(target, inner)), self._params[type][param].p
                found = f"SELECT {a}.r FROM {name} CROSS JOIN ix {a} {PRIMARY} ON {a}.p=? AND {a}.k={name}.r"
                return found, [p]
            case ReverseChain(source, param, inner):
                name, p = self.named(self.rows(source, inner)), self._params[source][param].p
                d, (found, args) = self._alias("d"), self._target(type, a)
                return (
                    f"SELECT {d}.rid AS r FROM {name} CROSS JOIN ix {a} INDEXED BY ix_r ON {a}.r={name}.r AND {a}.p=?"
                    f" CROSS JOIN docs {d} INDEXED BY docs_id ON {found.format(d=d)}",
                    [p, *args],
                )
        assert isinstance(where, LEAVES), where
        p = self._params[type][where.param].p
        found = f"SELECT {a}.r FROM ix {a} {PRIMARY} WHERE {a}.p=?"
        return self._union([(found + test, [p + offset, *args]) for offset, (test, args) in index_ranges(where)])

    def _references(self, type: str, where: Condition) -> Sql:
        """Returns a query for the references ("Type/id") of the resources that satisfy the condition."""
        name, d = self.named(self.rows(type, where)), self._alias("d")
        return f"SELECT DISTINCT ?||{d}.id FROM {name} CROSS JOIN docs {d} ON {d}.rid={name}.r", [f"{type}/"]

    def _target(self, type: str, a: str) -> Sql:
        """Returns the test that the resource `{d}` of the type is the target of the reference entry `a`."""
        start = f"{type}/"
        test = f"{{d}}.type=? AND {{d}}.id=substr({a}.k,?) AND {a}.k>=? AND {a}.k<? AND {a}.k=?||{{d}}.id"
        return test, [type, len(start) + 1, start, successor(start), start]

    def _union(self, parts: Sequence[Sql]) -> Sql:
        """Returns a query for all rows of all parts. SQLite allows 500 SELECTs in one compound statement."""
        while len(parts) > 1:
            groups = [parts[i : i + 100] for i in range(0, len(parts), 100)]
            joined = [(" UNION ALL ".join([sql for sql, _ in g]), [a for _, args in g for a in args]) for g in groups]
            if len(joined) == 1:
                return joined[0]
            parts = [(f"SELECT r FROM {self.named(sql)}", []) for sql in joined]
        return parts[0]

    def _compound_rows(self, type: str, path: AccessPath) -> Sql:
        """Returns a query for the rows of a compound index whose first members are bounded."""
        assert path.compound is not None
        a = self._alias("c")
        sources, tests, args = list[str](), [f"{a}.c=?"], list[Any]((path.compound.c,))
        for number, part in enumerate(path.members, 1):
            key = f"{a}.k{number}"
            match part:
                case Date(_, low_ge, low_lt):
                    # Rows without this member are greater than all numbers, so an upper bound is necessary.
                    tests.append(f"{key}>=? AND {key}<?")
                    args += [MIN_TIME if low_ge is None else low_ge, 2**63 - 1 if low_lt is None else low_lt]
                case Chain(_, target, inner):
                    sources.append(name := self.named(self._references(target, inner)))
                    tests.append(f"{key}={name}.r")
                case Reference(_, values) | Codes(_, values):
                    test, more = equal(key, values)
                    tests.append(test)
                    args += more
        sources.append(f"cx {a}")
        return f"SELECT {a}.r FROM {' CROSS JOIN '.join(sources)} WHERE {' AND '.join(tests)}", args

    # --- checks: boolean expressions ---

    def check(self, where: Condition, checked: CheckedResource) -> Sql:
        """Returns the test that the resource satisfies the condition."""
        match where:
            case And(parts):
                tests, args = self._checks(parts, checked)
                return " AND ".join(tests) or "1", args
            case Or(()):
                return "0", []
            case Ids(ids):
                return equal(checked.id, ids)
            case LastUpdated(ge, lt):
                bounds = [MIN_TIME if ge is None else ge, MAX_TIME if lt is None else lt]
                return f"{checked.updated}>=? AND {checked.updated}<?", bounds
            case KeyIs(param, key, descending):
                least = f"{'max' if descending else 'min'}(k) FROM ix INDEXED BY ix_r WHERE r={checked.rid} AND p=?"
                return f"(SELECT {least}) IS ?", [self._params[checked.type][param].p, key]
        if isinstance(where, LEAVES):
            a = self._alias("i")
            test, args = entry_test(where)
            p = self._params[checked.type][where.param].p
            return f"EXISTS(SELECT 1 FROM ix {a} INDEXED BY ix_r WHERE {a}.r={checked.rid} AND {a}.p=?{test})", [
                p,
                *args,
            ]
        if checked.depth >= _DEEPEST_CHECK:
            return f"{checked.rid} IN (SELECT r FROM {self.named(self.rows(checked.type, where))})", []
        checked = checked._replace(depth=checked.depth + 1)
        if isinstance(where, Or):
            tests, args = self._checks(where.parts, checked)
            return any_of([f"({test})" for test in tests]), args
        if isinstance(where, Not):
            test, args = self.check(where.part, checked)
            return f"NOT ({test})", args
        return self._check_join(where, checked)

    def _checks(self, parts: Sequence[Condition], checked: CheckedResource) -> tuple[list[str], list[Any]]:
        tests, args = [], list[Any]()
        for part in parts:
            test, more = self.check(part, checked)
            tests.append(test)
            args += more
        return tests, args

    def _check_join(self, where: Condition, checked: CheckedResource) -> Sql:
        a, d = self._alias("i"), self._alias("d")
        match where:
            case Chain(param, target, inner):
                found, args = self._target(target, a)
                test, more = self.check(inner, CheckedResource.of_docs(target, d, checked.depth))
                return (
                    f"EXISTS(SELECT 1 FROM ix {a} INDEXED BY ix_r CROSS JOIN docs {d} INDEXED BY docs_id"
                    f" ON {found.format(d=d)} WHERE {a}.r={checked.rid} AND {a}.p=? AND {test})",
                    [*args, self._params[checked.type][param].p, *more],
                )
            case ReverseChain(source, param, inner):
                test, more = self.check(inner, CheckedResource.of_rid(source, f"{a}.r", checked.depth))
                return (
                    f"EXISTS(SELECT 1 FROM ix {a} {PRIMARY} WHERE {a}.p=? AND {a}.k=?||{checked.id} AND {test})",
                    [self._params[source][param].p, f"{checked.type}/", *more],
                )
        raise ValueError(f"{where!r} is not a condition")

    def _alias(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"
