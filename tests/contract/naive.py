"""A naive store that evaluates the definitions of `model.conditions` resource by resource, and random data."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

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
    Sort,
    String,
    Token,
    Uri,
)
from fhirstore.model.indexing import (
    CompoundIndex,
    IndexedParameter,
    IndexEntry,
    ParameterKind,
    Schema,
)
from fhirstore.model.stored import Change
from fhirstore.store.errors import TooComplex
from fhirstore.store.protocol import Store
from fhirstore.store.schema_rules import declared_parameter

Key = tuple[str, str]  # type, id

KINDS: dict[str, tuple[ParameterKind, bool]] = {  # by parameter: kind, single
    "tok": ("token", False),
    "tok1": ("token", True),
    "str": ("string", False),
    "day": ("date", False),
    "day1": ("date", True),
    "num": ("number", False),
    "qty": ("quantity", False),
    "uri": ("uri", False),
    "ref": ("reference", False),
    "ref1": ("reference", True),
}
TYPES = ("Thing", "Other", "Thin")  # one name is the beginning of another
COMPOUNDS = (CompoundIndex("Thing", ("ref1", "tok1", "day1")), CompoundIndex("Other", ("tok1", "day1")))

TEXTS = [
    "",
    "a",
    "ab",
    "abc",
    "b",
    "a|b",
    "|",
    "\\",
    "\\p",
    "%",
    "_",
    '"',
    "é",
    "\ud7ff",
    "\ue000",
    "\U0010ffff",
    "a\0b",
]
IDS = [f"i{n}" for n in range(12)] + ["I1", "10", "9"]
DAY = 86_400_000_000
KEYS = ["-1", "0", "1", "10", "2"]
WIDTHS = [1, 1000, 1_000_000, 60_000_000, DAY, 20 * DAY, 300 * DAY, 5000 * DAY]


def schema(digest: str = "1", types: Sequence[str] = TYPES, compounds: Sequence[CompoundIndex] = COMPOUNDS) -> Schema:
    specs = {code: IndexedParameter(code, kind, single, digest) for code, (kind, single) in KINDS.items()}
    return Schema(dict.fromkeys(types, specs), tuple(compounds))


@dataclass
class World:
    """Live resources: entries by parameter, and when each was stored."""

    index: dict[Key, dict[str, list[IndexEntry]]] = field(default_factory=dict, repr=False)
    updated: dict[Key, int] = field(default_factory=dict, repr=False)

    def fill(self, store: Store, rng: random.Random, size: int) -> None:
        """Random resources, with some updates and deletions among them."""
        versions: dict[Key, int] = {}
        for _ in range(size):
            key = rng.choice(TYPES), rng.choice(IDS)
            replaces = versions.get(key)
            versions[key] = 1 if replaces is None else replaces + 1
            if key in self.index and rng.random() < 0.2:
                store.commit([Change(*key, replaces, "DELETE", deleted=True)])
                del self.index[key], self.updated[key]
                continue
            index = {code: random_entries(rng, code) for code in KINDS if rng.random() < 0.7}
            [stored] = store.commit([Change(*key, replaces, "PUT", b"", b'"n":1', index)])
            self.index[key] = index
            self.updated[key] = stored.updated

    def holds(self, key: Key, where: Condition) -> bool:
        """Whether the condition holds for this live resource."""
        match where:
            case And(parts):
                return all(self.holds(key, part) for part in parts)
            case Or(parts):
                return any(self.holds(key, part) for part in parts)
            case Not(part):
                return not self.holds(key, part)
            case Ids(ids):
                return key[1] in ids
            case LastUpdated(ge, lt):
                return (ge is None or self.updated[key] >= ge) and (lt is None or self.updated[key] < lt)
            case Chain(param, type, inner):
                named = [target.partition("/") for (target,) in self.index[key].get(param, [])]
                keys = [(kind, id) for kind, _, id in named if kind == type]
                return any(one in self.index and self.holds(one, inner) for one in keys)
            case ReverseChain(type, param, inner):
                me = ("/".join(key),)
                return any(
                    other[0] == type and me in index.get(param, ()) and self.holds(other, inner)
                    for other, index in self.index.items()
                )
        entries = self.index[key].get(where.param, [])  # type: ignore[attr-defined]
        return any(entry_fits(where, entry) for entry in entries)

    def matching(self, type: str, where: Condition) -> list[str]:
        return sorted(key[1] for key in self.index if key[0] == type and self.holds(key, where))

    def ordered(self, type: str, where: Condition, sorts: Sequence[Sort]) -> list[str]:
        ids = self.matching(type, where)
        for sort in reversed(sorts):
            keys = {id: self.key((type, id), sort) for id in ids}
            given = [id for id in ids if keys[id] is not None]
            given.sort(key=keys.__getitem__, reverse=sort.descending)
            ids = given + [id for id in ids if keys[id] is None]
        return ids

    def key(self, key: Key, sort: Sort) -> Any:
        if sort.param == "_id":
            return key[1]
        if sort.param == "_lastUpdated":
            return self.updated[key]
        primary = 1 if KINDS[sort.param][0] == "token" else 0
        keys = [entry[primary] for entry in self.index[key].get(sort.param, ())]
        return (max if sort.descending else min)(keys, default=None)


def is_after(keys: list[Any], after: list[Any], sorts: Sequence[Sort]) -> bool:
    """Whether these sort keys come after the position in the order of the sorts; missing keys come last."""
    for key, bound, sort in zip(keys, after, sorts, strict=True):
        if key != bound:
            if key is None or bound is None:
                return key is None
            return bool(key < bound if sort.descending else key > bound)
    return False


def check_parameters(schema: Schema, type: str, where: Condition, depth: int = 0) -> None:
    """Raises ValueError for an undeclared parameter, TooComplex for a condition that is nested too deeply."""
    if depth > 100:
        raise TooComplex("the search is nested more than 100 levels deep")
    match where:
        case And(parts) | Or(parts):
            for part in parts:
                check_parameters(schema, type, part, depth + 1)
        case Not(part):
            check_parameters(schema, type, part, depth + 1)
        case Chain(param, target, inner):
            declared_parameter(schema.types, type, param)
            check_parameters(schema, target, inner, depth + 1)
        case ReverseChain(source, param, inner):
            declared_parameter(schema.types, source, param)
            check_parameters(schema, source, inner, depth + 1)
        case _ if hasattr(where, "param"):
            declared_parameter(schema.types, type, where.param)


def entry_fits(where: Condition, entry: IndexEntry) -> bool:
    match where:
        case Present():
            return True
        case Token(_, system, code):
            return (system is None or entry[0] == system) and (code is None or entry[1] == code)
        case String(_, how, value):
            if how == "exact":
                return bool(entry[1] == value)
            return entry[0].startswith(value) if how == "prefix" else value in entry[0]
        case Date(_, low_ge, low_lt, high_le, high_gt):
            low, high = entry
            return (
                (low_ge is None or low >= low_ge)
                and (low_lt is None or low < low_lt)
                and (high_le is None or high <= high_le)
                and (high_gt is None or high > high_gt)
            )
        case Number():
            return number_fits(where, entry)
        case Reference(_, targets):
            return entry[0] in targets
        case Uri(_, value, how):
            uri = entry[0]
            return bool(uri == value if how == "exact" else uri.startswith(value) if how == "below" else False) or (
                how == "above" and value.startswith(uri)
            )
    raise TypeError(where)


def number_fits(where: Number, entry: IndexEntry) -> bool:
    key, *unit = entry
    bounds: list[tuple[str | None, Callable[[str, str], bool]]] = [
        (where.ge, lambda a, b: a >= b),
        (where.gt, lambda a, b: a > b),
        (where.le, lambda a, b: a <= b),
        (where.lt, lambda a, b: a < b),
    ]
    if not all(bound is None or holds(key, bound) for bound, holds in bounds):
        return False
    if where.system is None:
        return where.code is None or where.code in unit[1:]
    return bool(unit) and unit[0] == where.system and (where.code is None or unit[1] == where.code)


# --- random entries and conditions ---


def random_entries(rng: random.Random, code: str) -> list[IndexEntry]:
    kind, single = KINDS[code]
    return [random_entry(rng, kind) for _ in range(1 if single else rng.randrange(1, 4))]


def random_entry(rng: random.Random, kind: ParameterKind) -> IndexEntry:
    if kind in ("token", "string"):
        return rng.choice(TEXTS), rng.choice(TEXTS)
    if kind == "date":
        low = rng.randrange(-40, 40) * DAY // 4
        return low, low + rng.choice(WIDTHS)
    if kind == "number":
        return (rng.choice(KEYS),)
    if kind == "quantity":
        return rng.choice(KEYS), rng.choice(TEXTS), rng.choice(TEXTS), rng.choice(TEXTS)
    if kind == "uri":
        return (rng.choice(TEXTS),)
    return (rng.choice([f"{rng.choice(TYPES)}/{rng.choice(IDS)}", "urn:x", "Thing/", "Thing/i1\0", ""]),)


texts = st.sampled_from(TEXTS)
maybe_texts = st.none() | st.just("") | texts
maybe_keys = st.none() | st.sampled_from(KEYS)
times = st.none() | st.builds(lambda n, d: n * DAY // 4 + d, st.integers(-45, 45), st.sampled_from([-1, 0, 1, 500_000]))
targets = st.builds("{}/{}".format, st.sampled_from(TYPES), st.sampled_from(IDS)) | st.sampled_from(["urn:x", ""])
tokens = st.sampled_from(["tok", "tok1"])
dates = st.sampled_from(["day", "day1"])
refs = st.sampled_from(["ref", "ref1"])
leaves = st.one_of(
    st.builds(Token, tokens, maybe_texts, maybe_texts),
    st.builds(Token, tokens, st.none(), texts),
    st.builds(String, st.just("str"), st.sampled_from(["prefix", "contains", "exact"]), texts),
    st.builds(Date, dates, times, times, times, times),
    st.builds(Date, dates, times, times),
    st.builds(Date, dates, low_lt=times, high_gt=times),
    st.builds(Number, st.sampled_from(["num", "qty"]), maybe_keys, maybe_keys, maybe_keys, maybe_keys),
    st.builds(Number, st.just("qty"), ge=maybe_keys, system=maybe_texts, code=maybe_texts),
    st.builds(Reference, refs, st.lists(targets, max_size=4).map(tuple)),
    st.builds(Uri, st.just("uri"), texts, st.sampled_from(["exact", "below", "above"])),
    st.builds(Present, st.sampled_from(sorted(KINDS))),
    st.builds(Ids, st.lists(st.sampled_from(IDS), max_size=4).map(tuple)),
)


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, max_size=4).map(tuple)
    return st.one_of(
        st.builds(And, parts),
        st.builds(Or, parts),
        st.builds(Not, inner),
        st.builds(Chain, refs, st.sampled_from(TYPES), inner),
        st.builds(ReverseChain, st.sampled_from(TYPES), refs, inner),
    )


slots = st.builds(  # what a compound index serves, and a little more
    lambda *parts: And(parts),
    st.builds(Chain, st.just("ref1"), st.sampled_from(TYPES), leaves)
    | st.builds(Reference, st.just("ref1"), st.tuples(targets)),
    st.builds(Token, st.just("tok1"), maybe_texts, texts),
    st.builds(Date, st.just("day1"), low_ge=times),
    st.builds(Date, st.just("day1"), low_lt=times, high_le=times),
)
conditions: st.SearchStrategy[Condition] = st.recursive(leaves | slots, combined, max_leaves=8)
sorts = st.lists(
    st.builds(Sort, st.sampled_from([*sorted(KINDS), "_id", "_lastUpdated"]), st.booleans()), max_size=3
).map(lambda found: list({sort.param: sort for sort in found}.values()))


def pages(store: Store, type: str, where: Condition, sort: Sequence[Sort], size: int) -> list[str]:
    """The ids of all pages, one after the other."""
    ids: list[str] = []
    after = None
    while True:
        page = store.find(type, where, sort, after, size)
        ids += [entry.id for entry in page.entries]
        assert len(page.entries) <= size
        if page.next is None:
            return ids
        assert len(page.entries) == size
        after = page.next


def compare(store: Store, world: World, type: str, where: Condition, sort: Sequence[Sort], size: int) -> None:
    """Finds and counts as the naive model does, on one page and on many."""
    expected = world.ordered(type, where, sort)
    assert [entry.id for entry in store.find(type, where, sort).entries] == expected
    assert pages(store, type, where, sort, size) == expected
    assert store.count(type, where) == len(expected)
    assert store.count(type, where, at_most=2) == min(2, len(expected))
