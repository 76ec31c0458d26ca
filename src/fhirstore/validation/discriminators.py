"""https://hl7.org/fhir/R4/profiling.html#discriminator: how a slice recognises its values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fhirstore.fhirpath.discriminator_paths import DiscriminatorPath, DiscriminatorStep, named_values, walk
from fhirstore.fhirpath.evaluation import equal
from fhirstore.validation.constraints import find_constraint, matches_pattern
from fhirstore.validation.profile_bindings import membership_test
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.scope import ValidationScope
from fhirstore.validation.targets import referenced_type
from fhirstore.validation.tree import ElementNode

_RESOLVE = DiscriminatorStep("resolve")
_URL = DiscriminatorStep("name", "url")


class SlicedValue(NamedTuple):
    """A value of a sliced element. segment: its FHIRPath ("[2]"), "" if the element does not repeat. type: its FHIR
    type. position: its index."""

    segment: str
    value: Any
    type: str
    position: int


Match = Callable[[SlicedValue, ValidationScope], bool]
"""Whether a value belongs to a slice."""
ValueTest = Callable[[Any, ValidationScope], bool]


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
    return lambda item, scope: any(test(v, scope) for v, _ in walk(item.value, path, scope.resolve, item.type))


def value_test(
    repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath, sliced: ElementNode | None = None
) -> ValueTest | None:
    """The test of a value at a path below an element: fixed[x], pattern[x] or a required binding.

    sliced: the element of which `node` is a slice. If it has the same binding, the binding tells nothing."""
    for kind, compare in (("fixed", equal), ("pattern", matches_pattern)):
        if found := find_constraint(node.definition, kind):
            expected = _values_at(found[1], path)
            if expected:
                return _compare(compare, expected)
    if path:
        return _test_below(repository, node, path)
    binding = node.definition.get("binding", {})
    inherited = sliced.definition.get("binding", {}) if sliced else {}
    if binding.get("strength") == "required" and binding.get("valueSet") not in (None, inherited.get("valueSet")):
        tests = [membership_test(binding["valueSet"], code) for code in node.codes()]
        return lambda value, scope: any(test(value, scope) for test in tests)
    return _test_of_children(repository, node)


def _compare(compare: Callable[[Any, Any], bool], expected: list[Any]) -> ValueTest:
    return lambda value, scope: any(compare(e, value) for e in expected)


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
        return lambda value, scope: bool(value == step.argument)
    child = _child(node, step)
    if child is not None:
        candidates = [child, *child.slices.values()] if child is not node else [child]
        tests = [t for c in candidates if (t := value_test(repository, c, path[1:])) is not None]
        if tests:
            return lambda value, scope: any(test(value, scope) for test in tests)
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
    if not tests:
        return None

    def check(value: Any, scope: ValidationScope) -> bool:
        return type(value) is dict and all(
            any(test(v, scope) for v, _ in named_values(value, name)) for name, test in tests
        )

    return check


# --- the discriminators exists, type and profile ------------------------------------------------------


def exists_match(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> Match | None:
    """Matches if the slice requires or forbids the element at the path. None if it does neither."""
    element = element_at(repository, node, path)
    if element is None or (element.maximum() != 0 and element.minimum() == 0):
        return None
    is_required = element.maximum() != 0
    return lambda item, scope: bool(walk(item.value, path, scope.resolve, item.type)) is is_required


def type_match(repository: ProfileRepository, node: ElementNode, path: DiscriminatorPath) -> Match | None:
    """Matches the type of a choice, of a resource, or of the target of a reference."""
    element = element_at(repository, node, path)
    if element is None:
        return None
    codes = set(element.codes())
    is_resolved = path[-1:] == [_RESOLVE]
    if is_resolved:
        codes = {name for url in element.targets() if (name := repository.type_of(url))}
    names = {code[:1].upper() + code[1:] for code in codes}
    if not names or names & {"Resource", "DomainResource"}:
        return None

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        found = [of for _, of in walk(item.value, path, scope.resolve, item.type)]
        if not found and is_resolved:
            # The reference can name the type of an unavailable target.
            references = walk(item.value, path[:-1], scope.resolve, item.type)
            found = [referenced_type(v) or "" for v, _ in references]
        return any(of[:1].upper() + of[1:] in names for of in found)

    return match


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
    types = {repository.type_of(url) for url in urls}

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        for value, name in walk(item.value, path, scope.resolve, item.type):
            if type(value) is not dict:
                continue
            claimed = _claimed(value)
            if not claimed.isdisjoint(urls):
                return True
            if claimed.isdisjoint(all_profiles) and (name in types or not name or None in types):
                return any(repository.known(url) and repository.conforms(value, url, scope) for url in urls)
        return False

    return match


def profile_urls(node: ElementNode, path: DiscriminatorPath) -> list[str]:
    """The profiles that the values at a path must conform to. node: the element at the path."""
    return node.targets() if path[-1:] == [_RESOLVE] else node.profiles()


def _claimed(value: Mapping[str, Any]) -> set[str]:
    meta = value.get("meta")
    profiles = meta.get("profile") if type(meta) is dict else None
    return {p.partition("|")[0] for p in profiles if type(p) is str} if type(profiles) is list else set()
