"""Values as MongoDB compares them, and filters, changes and projections over documents."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import total_ordering
from typing import Any

Document = dict[str, Any]
MISSING = object()
LONGEST_REGEX = 32764


class Refused(Exception):
    """An error answer to a command."""

    def __init__(self, code: int, text: str, *labels: str):
        super().__init__(text)
        self.code, self.labels = code, list(labels)


def rank(value: Any) -> int:
    """The position of the type of the value in the order of types."""
    if value is None or value is MISSING:
        return 1
    if isinstance(value, bool):
        return 8
    for place, kinds in ((2, (int, float)), (3, (str,)), (4, (dict,)), (5, (list,)), (6, (bytes,))):
        if isinstance(value, kinds):
            return place
    raise Refused(2, f"the stand-in has no values like {value!r}")


@total_ordering
class Ordered:
    """A value that sorts as in MongoDB."""

    def __init__(self, value: Any):
        self.value = None if value is MISSING else value
        self.rank = rank(value)

    def _key(self) -> Any:
        if isinstance(self.value, dict):
            return [(Ordered(v), k) for k, v in self.value.items()]
        return [Ordered(v) for v in self.value] if isinstance(self.value, list) else self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordered) and self.rank == other.rank and self._key() == other._key()

    def __lt__(self, other: Ordered) -> bool:
        if self.rank != other.rank or self.value is None:
            return self.rank < other.rank
        return bool(self._key() < other._key())

    def __hash__(self) -> int:
        return hash(repr(self.value))


def at(doc: Any, path: str) -> Any:
    """The value at a path without arrays; MISSING if there is none."""
    for name in path.split("."):
        if not isinstance(doc, dict) or name not in doc:
            return MISSING
        doc = doc[name]
    return doc


def along(doc: Any, path: str) -> Iterator[Any]:
    """The values at a path, including those inside arrays."""
    name, _, rest = path.partition(".")
    if isinstance(doc, list):
        for one in doc:
            if isinstance(one, dict):
                yield from along(one, path)
    elif isinstance(doc, dict) and name in doc:
        if rest:
            yield from along(doc[name], rest)
        else:
            yield doc[name]


def prepared(where: Any) -> Any:
    """The filter with lists of texts as sets, which are looked up at once."""
    if isinstance(where, list):
        return [prepared(one) for one in where]
    if not isinstance(where, dict):
        return where
    return {
        name: frozenset(test) if name == "$in" and all(isinstance(one, str) for one in test) else prepared(test)
        for name, test in where.items()
    }


def matches(doc: Any, where: Document) -> bool:
    return all(_holds(doc, name, test) for name, test in where.items())


def _holds(doc: Any, name: str, test: Any) -> bool:
    if name == "$and":
        return all(matches(doc, one) for one in test)
    if name == "$or":
        return any(matches(doc, one) for one in test)
    if name == "$nor":
        return not any(matches(doc, one) for one in test)
    if name.startswith("$"):
        raise Refused(2, f"unknown top level operator: {name}")
    found = list(along(doc, name))
    return _tested(found, test if _is_test(test) else {"$eq": test})


def _is_test(test: Any) -> bool:
    return isinstance(test, dict) and any(name.startswith("$") for name in test)


def _tested(found: list[Any], test: Document) -> bool:
    """Whether each operator matches some value; not all need to match the same value."""
    members = [one for value in found for one in ([*value, value] if isinstance(value, list) else [value])]
    for operator, operand in test.items():
        if operator == "$exists":
            held = bool(found) is bool(operand)
        elif operator == "$elemMatch":
            held = any(_element(one, operand) for value in found if isinstance(value, list) for one in value)
        elif operator == "$in" and isinstance(operand, frozenset):
            held = any(isinstance(one, str) and one in operand for one in members)
        elif operator == "$in":
            held = any(_compare("$eq", one, want) for want in operand for one in members or [MISSING])
        else:
            held = any(_compare(operator, one, operand) for one in members or [MISSING])
        if not held:
            return False
    return True


def _element(one: Any, test: Document) -> bool:
    return _tested([one], test) if _is_test(test) else isinstance(one, dict) and matches(one, test)


def _compare(operator: str, value: Any, operand: Any) -> bool:
    if operator == "$regex":
        if len(operand) > LONGEST_REGEX:
            raise Refused(51091, "Regular expression is invalid: pattern string is longer than the limit")
        return isinstance(value, str) and re.search(operand, value) is not None
    if rank(value) != rank(operand):
        return False
    left, right = Ordered(value), Ordered(operand)
    if operator == "$eq":
        return left == right
    if value is MISSING or value is None:
        return operator in ("$gte", "$lte")
    tests = {"$gt": left > right, "$gte": left >= right, "$lt": left < right, "$lte": left <= right}
    if operator not in tests:
        raise Refused(2, f"unknown operator: {operator}")
    return tests[operator]


def in_order(docs: list[Document], order: Document) -> list[Document]:
    for path, direction in reversed(list(order.items())):
        docs = sorted(docs, key=lambda doc, path=path: Ordered(at(doc, path)), reverse=direction < 0)  # type: ignore[misc]
    return docs


def projected(doc: Document, fields: Document | None) -> Document:
    """The projected fields, by path, and `_id`."""
    if not fields:
        return doc
    found: Document = {"_id": doc["_id"]} if fields.get("_id", 1) else {}
    for path in fields:
        value = at(doc, path)
        if path != "_id" and value is not MISSING:
            *above, last = path.split(".")
            inner = found
            for name in above:
                inner = inner.setdefault(name, {})
            inner[last] = value
    return found


def changed(doc: Document | None, change: Document, where: Document) -> Document:
    """The document after an update or replacement. doc: None for an upsert that inserts."""
    new = doc is None
    base: Document = {"_id": where["_id"]} if doc is None else doc
    if not any(name.startswith("$") for name in change):
        return {"_id": base["_id"], **change}
    made = dict(base)
    for operator, fields in change.items():
        for name, value in fields.items():
            if "." in name:
                raise Refused(2, "the stand-in changes whole fields only")
            if operator == "$set" or (operator == "$setOnInsert" and new):
                made[name] = value
            elif operator == "$unset":
                made.pop(name, None)
            elif operator == "$inc":
                made[name] = made.get(name, 0) + value
            elif operator == "$max":
                made[name] = max(made.get(name, value), value)
            elif operator != "$setOnInsert":
                raise Refused(9, f"unknown modifier: {operator}")
    return made
