"""https://hl7.org/fhir/R4/profiling.html#slicing: values are assigned to slices, each with rules of its own.

open: values that match no slice can have any position; openAtEnd: they must follow the others; closed: they are
forbidden. ordered: the values are in the order of the slices. A slice can be sliced again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fhirstore.fhirpath.discriminator_paths import parse_discriminator
from fhirstore.model.messages import Message
from fhirstore.validation.discriminators import (
    Match,
    SlicedValue,
    element_at,
    exists_match,
    profile_match,
    profile_urls,
    type_match,
    url_of,
    value_match,
)
from fhirstore.validation.issue_list import IssueList, RelativeIssue, merged
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.scope import Rule, ValidationScope
from fhirstore.validation.text import describe
from fhirstore.validation.tree import ElementNode

Slicing = Callable[[list[SlicedValue], ValidationScope], IssueList | None]
"""Checks all values of an element. The paths of its issues start with the segments of the values."""
RuleOf = Callable[[ElementNode, str], Rule | None]
"""(slice, FHIR type) -> the rule of one of its values."""

_BY_URL = [{"type": "value", "path": "url"}]


@dataclass(frozen=True, slots=True)
class _Slice:
    """rules: by FHIR type. reslicing: the slicing of the slice itself."""

    name: str
    id: str
    min: int
    max: int | None
    match: Match
    rules: Mapping[str, Rule | None]
    reslicing: Slicing | None


@dataclass(frozen=True, slots=True)
class _Slicing:
    """id, name: of the sliced element. by_url: index of the slice by URL, if URLs tell the slices apart. kind: open |
    closed | openAtEnd. where: the profile."""

    id: str
    name: str
    slices: list[_Slice]
    by_url: dict[str, int] | None
    kind: str
    is_ordered: bool
    where: str


def make_slicing(
    repository: ProfileRepository, sliced: ElementNode, types: list[str], rule_of: RuleOf, where: str
) -> Slicing | None:
    """The check of an element's slices. None if it has none and allows other values.

    types: the FHIR types that its values can have."""
    slicing = sliced.definition.get("slicing", {})
    kind = slicing.get("rules", "open")
    if not sliced.slices and kind != "closed":
        return None
    discriminators = slicing.get("discriminator", [])
    slices = []
    start = 0
    for name, node in sliced.slices.items():
        own = set(node.codes())
        rules = {code: rule_of(node, code) for code in types if code in own or len(types) == 1}
        match = _match(repository, sliced, node, discriminators, rules, start)
        reslicing = make_slicing(repository, node, types, rule_of, where)
        slices.append(_Slice(name, node.id, node.minimum(), node.maximum(), match, rules, reslicing))
        start += node.maximum() or 0
    by_url = _urls(sliced) if _plain(discriminators) == _BY_URL else None
    name = sliced.id.rpartition(".")[2]
    return _checker(_Slicing(sliced.id, name, slices, by_url, kind, slicing.get("ordered") is True, where))


def _plain(discriminators: list[Any]) -> list[dict[str, Any]]:
    return [{"type": d.get("type"), "path": d.get("path")} for d in discriminators]


def _urls(sliced: ElementNode) -> dict[str, int] | None:
    """The index of the slice by URL. None unless all slices state their URL."""
    urls = {url: i for i, node in enumerate(sliced.slices.values()) if (url := url_of(node)) is not None}
    return urls if len(urls) == len(sliced.slices) else None


def _match(
    repository: ProfileRepository,
    sliced: ElementNode,
    node: ElementNode,
    discriminators: list[Any],
    rules: Mapping[str, Rule | None],
    start: int,
) -> Match:
    """start: the index of the first value of the slice, for the discriminator position."""
    found = [_discriminator_match(repository, sliced, node, discriminator, start) for discriminator in discriminators]
    matches = [m for m in found if m is not None]
    if not matches:
        return _conforming(rules)
    if len(matches) == 1:
        return matches[0]
    return lambda item, scope: all(match(item, scope) for match in matches)


def _discriminator_match(
    repository: ProfileRepository, sliced: ElementNode, node: ElementNode, discriminator: Mapping[str, Any], start: int
) -> Match | None:
    kind, path = discriminator.get("type"), parse_discriminator(str(discriminator.get("path", "$this")))
    if kind == "position":
        return _position(node, start)
    if path is None:
        return None
    if kind in ("value", "pattern"):
        return value_match(repository, node, path, sliced)
    if kind == "exists":
        return exists_match(repository, node, path)
    if kind == "type":
        return type_match(repository, node, path)
    if kind == "profile":
        elements = [element_at(repository, s, path) for s in sliced.slices.values()]
        profiles = frozenset(u.partition("|")[0] for e in elements if e is not None for u in profile_urls(e, path))
        return profile_match(repository, node, path, profiles)
    return None


def _position(node: ElementNode, start: int) -> Match:
    """Each slice takes as many values as it allows, in order."""
    maximum = node.maximum()
    end = None if maximum is None else start + maximum
    return lambda item, scope: end is None or item.position < end


def _conforming(rules: Mapping[str, Rule | None]) -> Match:
    """Without a usable discriminator, a value belongs to the first slice to whose rules it conforms."""

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        rule = rules.get(item.type)
        found = rule(item.value, scope) if rule is not None else None
        return found is None or not found.errors

    return match


def _checker(slicing: _Slicing) -> Slicing:
    slices, where = slicing.slices, slicing.where
    required = [(index, one) for index, one in enumerate(slices) if one.min]

    def check(items: list[SlicedValue], scope: ValidationScope) -> IssueList | None:
        assigned, errors = _assign(slicing, items, scope)
        errors += [_too_few(one, 0, where) for index, one in required if index not in assigned]
        found = IssueList(errors) if errors else None
        for index, members in assigned.items():
            found = merged(found, _check_slice(slices[index], members, scope, where))
        return found

    return check


def _assign(
    slicing: _Slicing, items: list[SlicedValue], scope: ValidationScope
) -> tuple[dict[int, list[SlicedValue]], list[RelativeIssue]]:
    """The values by index of their slice, and the errors of values that match none or break the order."""
    slices, kind, id, where = slicing.slices, slicing.kind, slicing.id, slicing.where
    assigned: dict[int, list[SlicedValue]] = {}
    errors: list[RelativeIssue] = []
    last, is_past_end = -1, False
    for item in items:
        index = _index_of(slicing, item, scope)
        text = ""
        if index is None:
            is_past_end = True
            if kind == "closed":
                text = _no_slice(slicing, item)
        else:
            assigned.setdefault(index, []).append(item)
            name = slices[index].name
            if slicing.is_ordered and index < last:
                text = _out_of_order(slicing, name, slices[last].name)
            elif is_past_end and kind == "openAtEnd":
                text = Message(
                    "slice {name} follows a value that matches no slice [openAtEnd slicing of {id} in {place}]",
                    name=name,
                    id=id,
                    place=where,
                )
            last = max(last, index)
        if text:
            errors.append(RelativeIssue("structure", text, item.segment))
    return assigned, errors


def _no_slice(slicing: _Slicing, item: SlicedValue) -> Message:
    return Message(
        "{shown} matches none of the slices of {name}: {names} [closed slicing of {id} in {place}]",
        shown=_shown(item),
        name=slicing.name,
        names=[s.name for s in slicing.slices],
        id=slicing.id,
        place=slicing.where,
    )


def _out_of_order(slicing: _Slicing, name: str, before: str) -> Message:
    return Message(
        "slice {name} follows {before}; the order is {names} [ordered slicing of {id} in {place}]",
        name=name,
        before=before,
        names=[s.name for s in slicing.slices],
        id=slicing.id,
        place=slicing.where,
    )


def _index_of(slicing: _Slicing, item: SlicedValue, scope: ValidationScope) -> int | None:
    if slicing.by_url is not None:
        url = item.value.get("url") if type(item.value) is dict else None
        return slicing.by_url.get(url) if type(url) is str else None
    for index, one in enumerate(slicing.slices):
        if one.match(item, scope):
            return index
    return None


def _check_slice(one: _Slice, members: list[SlicedValue], scope: ValidationScope, where: str) -> IssueList | None:
    found: IssueList | None = None
    if len(members) < one.min:
        found = IssueList([_too_few(one, len(members), where)])
    if one.max is not None and len(members) > one.max:
        text = Message("slice {name}: not allowed [max of {id} in {place}]", name=one.name, id=one.id, place=where)
        if one.max:
            text = Message(
                "slice {name}: {count} found; at most {max} allowed [max of {id} in {place}]",
                name=one.name,
                count=len(members),
                max=one.max,
                id=one.id,
                place=where,
            )
        found = merged(found, IssueList([RelativeIssue("structure", text, members[one.max].segment)]))
    for item in members:
        rule = one.rules.get(item.type)
        part = rule(item.value, scope) if rule is not None else None
        if part is not None:
            found = merged(found, part, item.segment)
    return merged(found, one.reslicing(members, scope)) if one.reslicing is not None else found


def _too_few(one: _Slice, count: int, where: str) -> RelativeIssue:
    text = Message(
        "slice {name}: {count} found; at least {min} required [min of {id} in {place}]",
        name=one.name,
        count=count,
        min=one.min,
        id=one.id,
        place=where,
    )
    return RelativeIssue("required", text)


def _shown(item: SlicedValue) -> str:
    url = item.value.get("url") if type(item.value) is dict else None
    return Message("{url} as url", url=describe(url)) if type(url) is str else describe(item.value)
