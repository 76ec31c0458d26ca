"""Generated cases: a search, how it is paged, and a guard on what it finds; and of which kinds they are."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import naive

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
from fhirstore.model.stored import Guard
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store

SEEN = ["the same", "one more", "one less", "another"]
SIZES = [0, 1, 8, 30, 60, 90, 150, 210]  # commits of which a world is made


@dataclass(frozen=True)
class Case:
    """world: any number, of which the worlds there are take the rest. seen: how what the guard saw differs from what
    there is. LastUpdated conditions hold numbers of moments, see `resolved`."""

    world: int
    type: str
    where: Condition
    sort: Sequence[Sort]
    size: int
    seen: str


class Generator:
    """Cases; all of them follow from the seed."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)

    def case(self) -> Case:
        rng = self.rng
        params = rng.sample([*naive.KINDS, "_id", "_lastUpdated"], rng.choice([0, 1, 1, 2, 3]))
        where = self._slots() if rng.random() < 0.15 else self._condition(rng.choice([0, 0, 1, 1, 2, 3]))
        sorts = [Sort(param, rng.random() < 0.5) for param in params]
        return Case(rng.randrange(10_000), rng.choice(naive.TYPES), where, sorts, rng.randrange(1, 8), rng.choice(SEEN))

    def _condition(self, depth: int) -> Condition:
        rng = self.rng
        if depth == 0:
            return self._slots() if rng.random() < 0.05 else rng.choice(self._leaves())()

        def inner() -> Condition:
            return self._condition(rng.randrange(depth))

        kind = rng.randrange(5)
        if kind < 2:
            parts = tuple(inner() for _ in range(rng.choice([0, 1, 2, 2, 3, 4])))
            return And(parts) if kind else Or(parts)
        if kind == 2:
            return Not(inner())
        type, param = rng.choice(naive.TYPES), rng.choice(["ref", "ref1"])
        return Chain(param, type, inner()) if kind == 3 else ReverseChain(type, param, inner())

    def _leaves(self) -> list[Callable[[], Condition]]:
        rng = self.rng
        token, day, ref = (rng.choice(pair) for pair in (("tok", "tok1"), ("day", "day1"), ("ref", "ref1")))

        def maybe(make: Callable[[], Any]) -> Any:
            return make() if rng.random() < 0.5 else None

        def text() -> str:
            return rng.choice(naive.TEXTS)

        def form() -> str | None:
            return rng.choice([None, "", text()])

        def key() -> str | None:
            return maybe(lambda: rng.choice(naive.KEYS))

        def time() -> int | None:
            return maybe(lambda: rng.randrange(-45, 46) * naive.DAY // 4 + rng.choice([-1, 0, 1, 500_000]))

        def moment() -> int | None:
            return maybe(lambda: rng.randrange(200))

        def some(make: Callable[[], str]) -> tuple[str, ...]:
            return tuple(make() for _ in range(rng.choice([0, 1, 1, 2, 4])))

        def target() -> str:
            return rng.choice([f"{rng.choice(naive.TYPES)}/{rng.choice(naive.IDS)}", "urn:x", ""])

        return [
            lambda: Token(token, form(), form()),
            lambda: Token(token, None, text()),
            lambda: String("str", rng.choice(["prefix", "contains", "exact"]), text()),
            lambda: Date(day, time(), time(), time(), time()),
            lambda: Date(day, low_lt=time(), high_gt=time()),
            lambda: Number(rng.choice(["num", "qty"]), key(), key(), key(), key()),
            lambda: Number("qty", rng.choice(naive.KEYS), system=form(), code=form()),
            lambda: Reference(ref, some(target)),
            lambda: Uri("uri", text(), rng.choice(["exact", "below", "above"])),
            lambda: Present(rng.choice([*naive.KINDS])),
            lambda: Ids(some(lambda: rng.choice(naive.IDS))),
            lambda: LastUpdated(moment(), moment()),
        ]

    def _slots(self) -> Condition:
        """What a compound index serves, and a little more."""
        rng = self.rng
        target = f"{rng.choice(naive.TYPES)}/{rng.choice(naive.IDS)}"
        days = sorted(rng.randrange(-45, 46) * naive.DAY // 4 for _ in range(2))
        first: Condition = Reference("ref1", (target,))
        if rng.random() < 0.5:
            first = Chain("ref1", rng.choice(naive.TYPES), rng.choice(self._leaves())())
        token = Token("tok1", rng.choice([None, "", rng.choice(naive.TEXTS)]), rng.choice(naive.TEXTS))
        return And((first, token, Date("day1", low_ge=days[0]), Date("day1", low_lt=days[1], high_le=days[1])))


def made_world(store: Store, seed: int) -> naive.World:
    """A world of its own for each seed, in an opened store."""
    world = naive.World()
    world.fill(store, random.Random(seed), SIZES[seed % len(SIZES)])
    return world


def resolved(where: Condition, times: Sequence[int]) -> Condition:
    """With moments at or beside one of the times instead of their numbers."""

    def moment(number: int | None) -> int | None:
        if number is None:
            return None
        return (times[number // 4 % len(times)] if times else 0) + (-1000, 0, 1, 1000)[number % 4]

    match where:
        case LastUpdated(ge, lt):
            return LastUpdated(moment(ge), moment(lt))
        case And(parts) | Or(parts):
            return type(where)(tuple(resolved(part, times) for part in parts))
        case Not(part):
            return Not(resolved(part, times))
        case Chain(_, _, inner) | ReverseChain(_, _, inner):
            return replace(where, where=resolved(inner, times))
    return where


def check(store: Store, world: naive.World, case: Case) -> None:
    """The store finds, pages, counts and guards as the naive model does."""
    where = resolved(case.where, sorted(set(world.updated.values())))
    naive.compare(store, world, case.type, where, case.sort, case.size)
    with store.snapshot():
        token = None
        found: list[str] = []
        while True:
            page = store.find(case.type, where, case.sort, token and json.loads(token), case.size)
            found += [entry.id for entry in page.entries]
            if page.next is None:
                break
            token = json.dumps(page.next)
    assert found == world.ordered(case.type, where, case.sort)
    check_guard(store, Guard(case.type, where, frozenset(seen(case.seen, found))), set(found))


def seen(how: str, ids: list[str]) -> list[str]:
    if how == "one more":
        return [*ids, "unheard-of"]
    if how == "one less":
        return ids[1:]
    return ["unheard-of", *ids[1:]] if how == "another" else ids


def check_guard(store: Store, guard: Guard, ids: set[str]) -> None:
    try:
        store.commit([], [guard])
        held = True
    except GuardChanged:
        held = False
    assert held == (guard.ids == ids)


def smaller(case: Case) -> Iterator[Case]:
    """Cases that are a little simpler."""
    if case.sort:
        yield replace(case, sort=case.sort[1:])
        yield replace(case, sort=case.sort[:-1])
    match case.where:
        case And(parts) | Or(parts):
            yield from (replace(case, where=part) for part in parts)
            for n in range(len(parts)):
                yield replace(case, where=type(case.where)(parts[:n] + parts[n + 1 :]))
        case Not(part):
            yield replace(case, where=part)
            yield from (replace(one, where=Not(one.where)) for one in smaller(replace(case, sort=(), where=part)))
        case Chain(_, type_, inner) | ReverseChain(type_, _, inner):
            yield replace(case, type=type_, where=inner)
            for one in smaller(replace(case, sort=(), type=type_, where=inner)):
                if one.type == type_:
                    yield replace(case, where=replace(case.where, where=one.where))


def simplest(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The simplest case found that still fails."""
    while (simpler := next((one for one in smaller(case) if fails(one)), None)) is not None:
        case = simpler
    return case


# --- of which kinds a case is ---


def kinds(case: Case) -> Iterator[str]:
    yield from _of_condition(case.where)
    yield from (f"sort {sort.param} {'down' if sort.descending else 'up'}" for sort in case.sort)
    yield f"{len(case.sort)} sorts"
    yield f"pages of {case.size}"
    yield f"guard that saw {case.seen}"


def _of_condition(where: Condition, inside: str = "") -> Iterator[str]:
    name = type(where).__name__
    if inside:
        yield f"{name} inside {inside}"
    match where:
        case And(parts) | Or(parts):
            yield f"{name} of {min(len(parts), 2)}"
            for part in parts:
                yield from _of_condition(part, name)
        case Not(part):
            yield from _of_condition(part, name)
        case Chain(param, _, inner) | ReverseChain(_, param, inner):
            yield f"{name} by {param}"
            yield from _of_condition(inner, name)
        case _:
            yield f"{name} {_form(where)}"


def _form(leaf: Condition) -> str:
    match leaf:
        case Token(param, system, code):
            return f"{param} {_given(system)} {_given(code)}"
        case String(_, how, _) | Uri(_, _, how):
            return how
        case Date(param):
            bounds = (leaf.low_ge, leaf.low_lt, leaf.high_le, leaf.high_gt)
            return f"{param} {' '.join(_given(one) for one in bounds)}"
        case Number(param):
            bounds = [_given(one) for one in (leaf.ge, leaf.gt, leaf.le, leaf.lt)]
            return f"{param} {bounds.count('any')} open, {_given(leaf.system)} {_given(leaf.code)}"
        case Reference(param, targets):
            return f"{param} {min(len(targets), 2)}"
        case Ids(ids):
            return str(min(len(ids), 2))
        case Present(param):
            return param
        case LastUpdated(ge, lt):
            return f"{_given(ge)} {_given(lt)}"
    raise TypeError(leaf)


def _given(value: object) -> str:
    return "any" if value is None else "empty" if value == "" else "given"


def every_kind() -> set[str]:
    """What the generator must make."""
    names = ["And", "Or", "Not", "Chain", "ReverseChain"]
    leaves = ["Token", "String", "Date", "Number", "Reference", "Uri", "Present", "Ids", "LastUpdated"]
    three, two, counts = ("any", "empty", "given"), ("any", "given"), (0, 1, 2)
    found = {f"{inner} inside {outer}" for outer in names for inner in names + leaves}
    found |= {f"{name} of {n}" for name in ("And", "Or") for n in counts}
    found |= {f"{name} by {param}" for name in ("Chain", "ReverseChain") for param in ("ref", "ref1")}
    found |= {f"Token {p} {s} {c}" for p in ("tok", "tok1") for s, c in itertools.product(three, three)}
    found |= {f"String {how}" for how in ("prefix", "contains", "exact")}
    found |= {f"Uri {how}" for how in ("exact", "below", "above")}
    found |= {f"Date {p} {' '.join(b)}" for p in ("day", "day1") for b in itertools.product(two, repeat=4)}
    found |= {f"Number {p} {n} open, any any" for p in ("num", "qty") for n in range(5)}
    found |= {f"Number qty 3 open, {s} {c}" for s, c in itertools.product(three, three)}
    found |= {f"Reference {p} {n}" for p in ("ref", "ref1") for n in counts}
    found |= {f"Ids {n}" for n in counts}
    found |= {f"Present {p}" for p in naive.KINDS}
    found |= {f"LastUpdated {a} {b}" for a, b in itertools.product(two, two)}
    found |= {f"sort {p} {d}" for p in [*naive.KINDS, "_id", "_lastUpdated"] for d in ("up", "down")}
    found |= {f"{n} sorts" for n in range(4)} | {f"pages of {n}" for n in range(1, 8)}
    return found | {f"guard that saw {how}" for how in SEEN}
