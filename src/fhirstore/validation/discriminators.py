"""https://hl7.org/fhir/R4/profiling.html#discriminator: how a slice recognises its values."""

from __future__ import annotations

from typing import Any

from fhirstore.fhirpath.discriminator_paths import DiscriminatorPath, DiscriminatorStep, named_values
from fhirstore.fhirpath.evaluation import equal
from fhirstore.validation import slice_rules
from fhirstore.validation.constraints import find_constraint
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.slice_rules import RESOLVE, Match, ValueTest
from fhirstore.validation.tree import ElementNode
from fhirstore.validation.value_rules import matches_pattern

_URL = DiscriminatorStep("name", "url")


def element_at(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> ElementNode | None:
    """The element at a path below a slice, in its own children or in those of the profile of its type."""
    for position, step in enumerate(path):
        child = _child(node, step)
        if child is None:
            is_resolve = step.kind == "resolve"
            if is_resolve and position == len(path) - 1:
                return node
            profiles = node.targets() if is_resolve else node.profiles()
            trees = [repository.tree(url) for url in profiles if repository.known(url)]
            rest = path[position + 1 :] if is_resolve else path[position:]
            return next((e for tree in trees if (e := element_at(repository, tree, rest)) is not None), None)
        node = child
    return node


def _child(node: ElementNode, step: DiscriminatorStep) -> ElementNode | None:
    if step.kind == "name":
        return node.child(step.argument)
    if step.kind == "ofType":
        return next((s for s in node.slices.values() if s.codes() == [step.argument]), node)
    if step.kind == "extension":
        extensions = node.child("extension")
        return next((s for s in extensions.slices.values() if url_of(s) == step.argument), None) if extensions else None
    return None


def url_of(node: ElementNode) -> str | None:
    """The URL of the extensions in a slice of `extension`."""
    url = node.child("url")
    if url is not None:
        found = find_constraint(url.definition, "fixed") or find_constraint(url.definition, "pattern")
        if found:
            return str(found[1])
    profiles = node.profiles()
    return profiles[0].partition("|")[0] if profiles else None


# --- the discriminators value and pattern -------------------------------------------------------------


def value_match(
    repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath, sliced: ElementNode
) -> Match | None:
    """None if the slice does not constrain the values at the path."""
    test = value_test(repository, node, path, sliced)
    if test is None:
        return None
    return slice_rules.path_match(path, test)


def value_test(
    repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath, sliced: ElementNode | None = None
) -> ValueTest | None:
    """The test of a value at a path below an element: fixed[x], pattern[x] or a required binding.

    sliced: the element of which `node` is a slice. If it has the same binding, the binding tells nothing."""
    for kind, compare in (("fixed", equal), ("pattern", matches_pattern)):
        if found := find_constraint(node.definition, kind):
            expected = _values_at(found[1], path)
            if expected:
                return slice_rules.comparison_test(compare, expected)
    if path:
        return _test_below(repository, node, path)
    binding = node.definition.get("binding", {})
    inherited = sliced.definition.get("binding", {}) if sliced else {}
    if binding.get("strength") == "required" and binding.get("valueSet") not in (None, inherited.get("valueSet")):
        return slice_rules.any_test([slice_rules.membership_test(binding["valueSet"], code) for code in node.codes()])
    return _test_of_children(repository, node)


def _values_at(value: Any, path: DiscriminatorPath) -> list[Any]:
    """The values at a path in a fixed value or a pattern."""
    if not path:
        return [value]
    if type(value) is list:
        return [v for item in value for v in _values_at(item, path)]
    if type(value) is not dict or path[0].kind != "name":
        return []
    return [v for child, _ in named_values(value, path[0].argument) for v in _values_at(child, path[1:])]


def _test_below(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> ValueTest | None:
    step = path[0]
    if step.kind == "extension" and path[1:] == [_URL]:
        return slice_rules.comparison_test(equal, [step.argument])
    child = _child(node, step)
    if child is not None:
        candidates = [child, *child.slices.values()] if child is not node else [child]
        tests = [t for c in candidates if (t := value_test(repository, c, path[1:])) is not None]
        if tests:
            return slice_rules.any_test(tests)
    profiles = node.targets() if step.kind == "resolve" else node.profiles()
    rest = path[1:] if step.kind == "resolve" else path
    for url in profiles:
        if repository.known(url) and (test := value_test(repository, repository.tree(url), rest)) is not None:
            return test
    return None


def _test_of_children(repository: ProfileRepository, node: ElementNode) -> ValueTest | None:
    """For a slice without a pattern of its own: the tests of all its children."""
    tests = [
        (name.removesuffix("[x]"), test)
        for name, child in node.children.items()
        if (test := value_test(repository, child, [])) is not None
    ]
    return slice_rules.children_test(tests) if tests else None


# --- the discriminators exists, type and profile ------------------------------------------------------


def exists_match(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> Match | None:
    """Matches if the slice requires or forbids the element at the path. None if it does neither."""
    element = element_at(repository, node, path)
    if element is None or (element.maximum() != 0 and element.minimum() == 0):
        return None
    return slice_rules.existence_match(path, element.maximum() != 0)


def type_match(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> Match | None:
    """Matches the type of a choice, of a resource, or of the target of a reference."""
    element = element_at(repository, node, path)
    if element is None:
        return None
    codes = set(element.codes())
    if path[-1:] == [RESOLVE]:
        codes = {name for url in element.targets() if (name := repository.type_of(url))}
    names = {code[:1].upper() + code[1:] for code in codes}
    if not names or names & {"Resource", "DomainResource"}:
        return None
    return slice_rules.type_name_match(path, names)


def profile_match(
    repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath, all_profiles: frozenset[str]
) -> Match | None:
    """Matches resources that claim a profile of the slice, so that their errors are reported. A resource that claims no
    profile of any slice belongs to the slice to which it conforms. all_profiles: those of all slices."""
    element = element_at(repository, node, path)
    if element is None:
        return None
    urls = [u.partition("|")[0] for u in profile_urls(element, path)]
    if not urls:
        return None
    types = {url: repository.type_of(url) for url in urls}
    return slice_rules.claim_match(repository, path, types, all_profiles)


def profile_urls(node: ElementNode, path: DiscriminatorPath) -> list[str]:
    """The profiles that the values at a path must conform to. node: the element at the path."""
    return node.targets() if path[-1:] == [RESOLVE] else node.profiles()
