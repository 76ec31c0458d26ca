"""https://hl7.org/fhir/R4/extensibility.html: every extension is checked against its own definition.

The definition constrains the value and the context of use
(https://hl7.org/fhir/R4/defining-extensions.html#context). Extensions without an available definition are accepted,
unless they have the address of R4's own ones. A modifierExtension without one gives a warning, because it can change
the meaning of its element.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

from fhirstore.definitions.core import Definitions
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, ProfileElement, RelativeIssue, single_error, single_warning
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.rules import Rule, ValidationScope
from fhirstore.validation.snapshot import CORE
from fhirstore.validation.text import describe

Trail = tuple[tuple[str, int | None, dict[str, Any]], ...]
"""The way from the resource to an object: (JSON property, index in its array, the object there)."""

Located = tuple[dict[str, Any], Trail]

_KEYS = frozenset({"extension", "modifierExtension"})
_CACHED_PATHS, _CACHED_DEPTH, _MAX_NAME = 2_000, 10, 100
"""Bounds of the cache of contexts: clients can send any path. No element of R4 has a longer name."""


_MORE_CONTEXTS: Mapping[str, tuple[str, ...]] = {
    f"{CORE}structuredefinition-fhir-type": ("ElementDefinition.type",),
    f"{CORE}regex": ("ElementDefinition.type",),
    f"{CORE}structuredefinition-normative-version": ("DomainResource", "ElementDefinition"),
    f"{CORE}valueset-concept-comments": ("CodeSystem.concept",),
}
"""Elements in which R4's own resources have extensions that are defined for others."""


class ExtensionDefinition(NamedTuple):
    """type: the type that the definition constrains, Extension unless it is wrong. contexts: its contexts of use."""

    rule: Rule
    type: str
    contexts: tuple[Mapping[str, Any], ...]
    is_modifier: bool


class ExtensionChecks:
    """Checks extensions against their definitions, which are compiled on first use and kept."""

    def __init__(self, repository: ProfileRepository):
        self._repository, self._core = repository, repository.core
        self._definitions: dict[str, ExtensionDefinition] = {}

    def check(
        self, extensions: Iterable[Located], resource: dict[str, Any], scope: ValidationScope
    ) -> IssueList | None:
        """The issues of the extensions of a resource. Paths are below the resource."""
        found: IssueList | None = None
        for extension, trail in extensions:
            part = self._check(resource, extension, trail, scope)
            if part is not None:
                found = found or IssueList()
                found.merge(part, path_of(self._core, resource, trail))
        return found

    def _check(
        self, resource: dict[str, Any], extension: dict[str, Any], trail: Trail, scope: ValidationScope
    ) -> IssueList | None:
        url = extension["url"]
        definition = self._definitions.get(url)
        if definition is None:
            if not self._repository.known(url):
                return self._undefined(url, trail)
            definition = self._definitions[url] = self._define(url)
        found = None
        if (id(extension), url) not in scope.without_issues:  # the profile of its element may have checked it already
            found = definition.rule(extension, _scope_at(trail, scope))
        if misuse := self._misuse(definition, resource, url, trail):
            found = found or IssueList()
            found.errors += misuse
        return found

    def _define(self, url: str) -> ExtensionDefinition:
        snapshot = self._repository.snapshot(url)
        contexts = tuple((snapshot.structure or {}).get("context", ()))
        if contexts:
            more = _MORE_CONTEXTS.get(snapshot.url, ())
            contexts += tuple({"type": "element", "expression": expression} for expression in more)
        head = next(iter(snapshot.elements.values()), {})
        is_modifier = head.get("isModifier") is True
        return ExtensionDefinition(self._repository.rule(url), snapshot.type, contexts, is_modifier)

    def _undefined(self, url: str, trail: Trail) -> IssueList | None:
        """The issues of an extension without an available definition. All with an address of R4 have one."""
        if url.startswith(CORE):
            text = Message("{url} is no extension of R4, and no installed package defines it", url=describe(url))
            return single_error("structure", text, ".url")
        if trail[-1][0] != "modifierExtension":
            return None
        text = Message(
            "{url} is not defined here; it can change the meaning of the element that contains it", url=describe(url)
        )
        return single_warning("not-supported", text)

    def _misuse(
        self, definition: ExtensionDefinition, resource: dict[str, Any], url: str, trail: Trail
    ) -> list[RelativeIssue]:
        """The errors of an extension that its definition does not allow in its place."""
        found: list[RelativeIssue] = []
        if definition.type != "Extension":
            text = Message("{url} is defined as {type}, not as an extension", url=describe(url), type=definition.type)
            found.append(RelativeIssue("value", text, ".url"))
        if definition.contexts:
            names = contexts(self._core, resource, trail)
            if not any(_is_in(context, names, trail) for context in definition.contexts):
                allowed = ", ".join(str(c.get("expression")) for c in definition.contexts)
                text = Message("{value} is allowed only in {allowed}", value=describe(url), allowed=allowed)
                found.append(RelativeIssue("structure", text, source=ProfileElement("", url).rule("context")))
        is_modifier = trail[-1][0] == "modifierExtension"
        if is_modifier is not definition.is_modifier:
            expected = "extension" if is_modifier else "modifierExtension"
            text = Message("{value} must be in {expected}", value=describe(url), expected=expected)
            found.append(RelativeIssue("structure", text, source=ProfileElement("", url).rule("isModifier")))
        return found


def _scope_at(trail: Trail, scope: ValidationScope) -> ValidationScope:
    for _, _, value in trail:
        if "resourceType" in value:
            scope = scope.for_value(value)
    return scope


def _is_in(context: Mapping[str, Any], names: Iterable[str], trail: Trail) -> bool:
    kind, expression = context.get("type"), str(context.get("expression"))
    if kind == "extension":
        outer = [v.get("url") for key, _, v in trail[:-1] if key in _KEYS]
        return bool(outer) and expression.partition("#")[0] in (outer[-1], *outer[:1])
    if kind == "element":
        # Elements of profiles ("url#id") and slices are not recognised here.
        return "#" in expression or ":" in expression or expression.replace("[x]", "") in names
    return True  # a FHIRPath expression


def contexts(core: Definitions, resource: Mapping[str, Any], trail: Trail) -> frozenset[str]:
    """The names that a definition can use for the context of an extension: the path of its element from the resource
    and from the data type, its type, and the ancestors of these."""
    path = [str(resource.get("resourceType"))]
    for name, _, value in trail[:-1]:
        if "resourceType" in value:
            path = [str(value["resourceType"])]
        else:
            path.append(name[:_MAX_NAME].removeprefix("_"))
    return (_contexts if len(path) <= _CACHED_DEPTH else _contexts_at)(core, tuple(path))


def _contexts_at(core: Definitions, path: tuple[str, ...]) -> frozenset[str]:
    """path: the resource type and the JSON properties below it."""
    current = full = path[0]
    names = _with_ancestors(core, current)
    for key in path[1:]:
        node = core.node(current)
        entry = node.keys.get(key) if node else None
        if entry is None:
            return frozenset(("Element",))
        element, type_ref = entry
        full = f"{full}.{element.name}"
        current = element.node or type_ref.code
        names = _with_ancestors(core, current) | {full, element.path.replace("[x]", "")}
        if element.node:
            names |= {"BackboneElement"}
    return names


_contexts = lru_cache(maxsize=_CACHED_PATHS)(_contexts_at)


def _with_ancestors(core: Definitions, name: str) -> frozenset[str]:
    return _ancestors(core, name) if core.node(name) is not None else frozenset((name, "Element"))


@cache  # bounded by the number of types
def _ancestors(core: Definitions, name: str) -> frozenset[str]:
    names = {name, "Element"}
    node = core.node(name)
    if node is not None and node.kind == "resource" and {"url", "status"} <= node.elements.keys():
        names |= {"CanonicalResource", "MetadataResource"}  # definitions for later versions of FHIR use them
    while node is not None and node.base:
        names.add(node.base)
        node = core.node(node.base)
    return frozenset(names)


# --- objects in a resource -----------------------------------------------------------------------------


class Occurrences(NamedTuple):
    """What is checked wherever it is. extensions: those with an absolute URL; the parts of a complex extension are
    checked with it. codings: the objects with a system and a code."""

    extensions: list[Located]
    codings: list[Located]

    @classmethod
    def of(cls, resource: dict[str, Any]) -> Occurrences:
        """Those in a resource and in the resources nested in it."""
        found = cls([], [])
        _collect(resource, (), found)
        return found


def _collect(value: dict[str, Any], trail: Trail, out: Occurrences) -> None:
    if type(value.get("system")) is str and type(value.get("code")) is str:
        out.codings.append((value, trail))
    for key, item in value.items():
        if type(item) is dict:
            _collect(item, (*trail, (key, None, item)), out)
        elif type(item) is list:
            for index, one in enumerate(item):
                if type(one) is dict:
                    below = (*trail, (key, index, one))
                    url = one.get("url") if key in _KEYS else None
                    if type(url) is str and ":" in url:
                        out.extensions.append((one, below))
                    _collect(one, below, out)


def path_of(core: Definitions, resource: Mapping[str, Any], trail: Trail) -> str:
    """The FHIRPath of a trail below its resource. A choice has the name of its element."""
    current = str(resource.get("resourceType"))
    out = ""
    for name, index, value in trail:
        key = name.removeprefix("_")
        node = core.node(current)
        entry = node.keys.get(key) if node else None
        if entry is not None:
            key = entry[0].name
            current = entry[0].node or entry[1].code
        if "resourceType" in value:
            current = str(value["resourceType"])
        out += "." + key + ("" if index is None else f"[{index}]")
    return out
