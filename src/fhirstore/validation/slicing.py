"""https://hl7.org/fhir/R4/profiling.html#slicing: compiles the slices of an element into `slice_rules`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.fhirpath.discriminator_paths import parse_discriminator
from fhirstore.validation.discriminators import (
    element_at,
    exists_match,
    profile_match,
    profile_urls,
    type_match,
    url_of,
    value_match,
)
from fhirstore.validation.issue_list import ProfileElement
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.rules import Rule, Slicing
from fhirstore.validation.slice_rules import (
    Match,
    Slice,
    SlicingRules,
    all_match,
    conforming_match,
    position_match,
    slicing_rule,
)
from fhirstore.validation.tree import ElementNode

RuleOf = Callable[[ElementNode, str], Rule | None]
"""(slice, FHIR type) -> the rule of one of its values."""

_BY_URL = [{"type": "value", "path": "url"}]


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
        slices.append(
            Slice(name, ProfileElement(node.id, where), node.minimum(), node.maximum(), match, rules, reslicing)
        )
        start += node.maximum() or 0
    by_url = _urls(sliced) if _plain(discriminators) == _BY_URL else None
    element, name = ProfileElement(sliced.id, where), sliced.id.rpartition(".")[2]
    return slicing_rule(SlicingRules(element, name, slices, by_url, kind, slicing.get("ordered") is True))


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
        return conforming_match(rules)
    return matches[0] if len(matches) == 1 else all_match(matches)


def _discriminator_match(
    repository: ProfileRepository, sliced: ElementNode, node: ElementNode, discriminator: Mapping[str, Any], start: int
) -> Match | None:
    kind, path = discriminator.get("type"), parse_discriminator(str(discriminator.get("path", "$this")))
    if kind == "position":
        maximum = node.maximum()
        return position_match(None if maximum is None else start + maximum)
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
