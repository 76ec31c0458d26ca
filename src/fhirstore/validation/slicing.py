"""https://hl7.org/fhir/R4/profiling.html#slicing: values are dealt to slices, each with its own rules.

open: what fits no slice may stand anywhere; openAtEnd: only behind the others; closed: not at all. ordered: the values
come in the order of the slices. A slice may be sliced again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fhirstore.validation.discriminators import (
    Item,
    Match,
    exists_match,
    part_at,
    profile_match,
    profile_urls,
    steps,
    type_match,
    url_of,
    value_match,
)
from fhirstore.validation.findings import Findings, Problem, describe
from fhirstore.validation.scope import Rule, Scope
from fhirstore.validation.tree import Part

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

Slicing = Callable[[list[Item], Scope], Findings | None]
"""Checks all values of an element; the paths of its findings begin with the segments of the items."""
RuleOf = Callable[[Part, str], Rule | None]
"""(slice, FHIR type) -> the rule of one of its values."""

_BY_URL = [{"type": "value", "path": "url"}]


@dataclass(frozen=True, slots=True)
class _Slice:
    name: str
    id: str
    min: int
    max: int | None
    match: Match
    rules: Mapping[str, Rule | None]
    again: Slicing | None


def make_slicing(
    structures: ProfileRepository, sliced: Part, types: list[str], rule_of: RuleOf, where: str
) -> Slicing | None:
    """The check of an element's slices; None when it has none and allows other values.

    types: the FHIR types that its values may have."""
    slicing = sliced.definition.get("slicing", {})
    closed = slicing.get("rules") == "closed"
    if not sliced.slices and not closed:
        return None
    discriminators = slicing.get("discriminator", [])
    slices = []
    start = 0
    for name, part in sliced.slices.items():
        own = set(part.codes())
        rules = {code: rule_of(part, code) for code in types if code in own or len(types) == 1}
        match = _match(structures, sliced, part, discriminators, rules, start)
        again = make_slicing(structures, part, types, rule_of, where)
        slices.append(_Slice(name, part.id, part.minimum(), part.maximum(), match, rules, again))
        start += part.maximum() or 0
    by_url = _urls(sliced) if _plain(discriminators) == _BY_URL else None
    return _checker(sliced, slices, by_url, slicing, where)


def _plain(discriminators: list[Any]) -> list[dict[str, Any]]:
    return [{"type": d.get("type"), "path": d.get("path")} for d in discriminators]


def _urls(sliced: Part) -> dict[str, int] | None:
    """Slice of each url, when all slices name theirs."""
    urls = {url: i for i, part in enumerate(sliced.slices.values()) if (url := url_of(part)) is not None}
    return urls if len(urls) == len(sliced.slices) else None


def _match(
    structures: ProfileRepository,
    sliced: Part,
    part: Part,
    discriminators: list[Any],
    rules: Mapping[str, Rule | None],
    start: int,
) -> Match:
    matches: list[Match | None] = []
    for discriminator in discriminators:
        kind, path = discriminator.get("type"), steps(str(discriminator.get("path", "$this")))
        if kind == "position":
            matches.append(_position(part, start))
        elif path is None:
            matches.append(None)
        elif kind in ("value", "pattern"):
            matches.append(value_match(structures, part, path, sliced))
        elif kind == "exists":
            matches.append(exists_match(structures, part, path))
        elif kind == "type":
            matches.append(type_match(structures, part, path))
        elif kind == "profile":
            inner = [part_at(structures, p, path) for p in sliced.slices.values()]
            all_urls = frozenset(u.partition("|")[0] for p in inner if p is not None for u in profile_urls(p, path))
            matches.append(profile_match(structures, part, path, all_urls))
    able = [m for m in matches if m is not None]
    if not able:
        return _conforming(rules)
    if len(able) == 1:
        return able[0]
    return lambda item, scope: all(match(item, scope) for match in able)


def _position(part: Part, start: int) -> Match:
    """Values are dealt to the slices one after the other, as many as each may have."""
    maximum = part.maximum()
    end = None if maximum is None else start + maximum
    return lambda item, scope: end is None or item.position < end


def _conforming(rules: Mapping[str, Rule | None]) -> Match:
    """Where no discriminator can tell, a value belongs to the first slice whose rules it keeps."""

    def match(item: Item, scope: Scope) -> bool:
        rule = rules.get(item.type)
        found = rule(item.value, scope) if rule is not None else None
        return found is None or not found.errors

    return match


def _checker(
    sliced: Part, slices: list[_Slice], by_url: dict[str, int] | None, slicing: Mapping[str, Any], where: str
) -> Slicing:
    kind, ordered = slicing.get("rules", "open"), slicing.get("ordered") is True
    needed = [s for s in slices if s.min]
    id, name = sliced.id, sliced.id.rpartition(".")[2]
    names = ", ".join(s.name for s in slices)

    def index_of(item: Item, scope: Scope) -> int | None:
        if by_url is not None:
            url = item.value.get("url") if type(item.value) is dict else None
            return by_url.get(url) if type(url) is str else None
        for index, one in enumerate(slices):
            if one.match(item, scope):
                return index
        return None

    def check(items: list[Item], scope: Scope) -> Findings | None:
        found: Findings | None = None
        dealt: dict[int, list[Item]] = {}
        last, stray = -1, None
        for item in items:
            index = index_of(item, scope)
            text = ""
            if index is None:
                if kind == "closed":
                    text = (
                        f"{_shown(item)} fits none of the slices of {name}: {names} [closed slicing of {id} in {where}]"
                    )
                stray = stray or item
            else:
                dealt.setdefault(index, []).append(item)
                if ordered and index < last:
                    here, before = slices[index].name, slices[last].name
                    text = (
                        f"slice {here} comes after {before}; the order is {names} [ordered slicing of {id} in {where}]"
                    )
                elif stray is not None and kind == "openAtEnd":
                    here = slices[index].name
                    text = f"slice {here} comes after a value that fits no slice [openAtEnd slicing of {id} in {where}]"
                last = max(last, index)
            if text:
                found = found or Findings()
                found.errors.append(Problem("structure", text, item.segment))
        for one in needed:
            if not any(slices[i] is one for i in dealt):
                found = found or Findings()
                found.errors.append(_too_few(one, 0, where))
        for index, members in dealt.items():
            part = _check_slice(slices[index], members, scope, where)
            if part is not None:
                found = found or Findings()
                found.absorb(part, "")
        return found

    return check


def _check_slice(one: _Slice, members: list[Item], scope: Scope, where: str) -> Findings | None:
    found: Findings | None = None
    if len(members) < one.min:
        found = Findings([_too_few(one, len(members), where)])
    if one.max is not None and len(members) > one.max:
        found = found or Findings()
        text = f"slice {one.name}: not allowed [max of {one.id} in {where}]"
        if one.max:
            text = f"slice {one.name}: at most {one.max} allowed, {len(members)} found [max of {one.id} in {where}]"
        found.errors.append(Problem("structure", text, members[one.max].segment))
    for item in members:
        rule = one.rules.get(item.type)
        part = rule(item.value, scope) if rule is not None else None
        if part is not None:
            found = found or Findings()
            found.absorb(part, item.segment)
    if one.again is not None and (part := one.again(members, scope)) is not None:
        found = found or Findings()
        found.absorb(part, "")
    return found


def _too_few(one: _Slice, count: int, where: str) -> Problem:
    text = f"slice {one.name}: at least {one.min} wanted, {count} found [min of {one.id} in {where}]"
    return Problem("required", text)


def _shown(item: Item) -> str:
    url = item.value.get("url") if type(item.value) is dict else None
    return f"{describe(url)} as url" if type(url) is str else describe(item.value)
