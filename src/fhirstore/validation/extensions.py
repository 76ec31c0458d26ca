"""https://hl7.org/fhir/R4/extensibility.html: every extension is checked against its own definition.

The definition constrains the value and the context of use
(https://hl7.org/fhir/R4/defining-extensions.html#context). Extensions without an available definition are accepted. A
modifierExtension without one gives a warning, because it can change the meaning of its element.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, RelativeIssue, single_warning
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.scope import ValidationScope
from fhirstore.validation.text import describe

Trail = tuple[tuple[str, int | None, dict[str, Any]], ...]
"""The way from the resource to an extension: (JSON property, index in its array, the object there)."""

_KEYS = frozenset({"extension", "modifierExtension"})


def check_extensions(
    repository: ProfileRepository, resource: dict[str, Any], scope: ValidationScope
) -> IssueList | None:
    """The issues of all extensions in a resource and in the resources nested in it. Paths are below the resource."""
    extensions: list[tuple[dict[str, Any], Trail]] = []
    _collect(resource, (), extensions)
    found: IssueList | None = None
    for extension, trail in extensions:
        part = _check(repository, resource, extension, trail, scope)
        if part is not None:
            found = found or IssueList()
            found.merge(part, _path(repository.core, resource, trail))
    return found


def _collect(value: dict[str, Any], trail: Trail, out: list[tuple[dict[str, Any], Trail]]) -> None:
    """Adds all extensions with an absolute URL to `out`. The parts of a complex extension are checked with it."""
    for key, item in value.items():
        if type(item) is dict:
            _collect(item, (*trail, (key, None, item)), out)
        elif type(item) is list:
            for index, one in enumerate(item):
                if type(one) is dict:
                    below = (*trail, (key, index, one))
                    url = one.get("url") if key in _KEYS else None
                    if type(url) is str and ":" in url:
                        out.append((one, below))
                    _collect(one, below, out)


def _check(
    repository: ProfileRepository,
    root: dict[str, Any],
    extension: dict[str, Any],
    trail: Trail,
    scope: ValidationScope,
) -> IssueList | None:
    url = extension["url"]
    is_modifier = trail[-1][0] == "modifierExtension"
    if not repository.known(url):
        if not is_modifier or repository.is_r4(url):
            return None
        text = Message(
            "{url} is not defined here; it can change the meaning of the element that contains it", url=describe(url)
        )
        return single_warning("not-supported", text)
    found = None
    if (id(extension), url) not in scope.without_issues:  # the profile of its element may have checked it already
        found = repository.rule(url)(extension, _scope_at(trail, scope))
    found = found or IssueList()
    found.errors += _misuse(repository, root, url, trail)
    return found if found.errors or found.warnings else None


def _misuse(repository: ProfileRepository, root: dict[str, Any], url: str, trail: Trail) -> Iterator[RelativeIssue]:
    """The errors of an extension that its definition does not allow in its place."""
    snapshot = repository.snapshot(url)
    if snapshot.type != "Extension":
        text = Message("{url} is defined as {type}, not as an extension", url=describe(url), type=snapshot.type)
        yield RelativeIssue("value", text, ".url")
    declared = (snapshot.structure or {}).get("context", ())
    names = contexts(repository.core, root, trail)
    if declared and not any(_is_in(context, names, trail) for context in declared):
        allowed = ", ".join(str(c.get("expression")) for c in declared)
        yield RelativeIssue(
            "structure",
            Message(
                "{value} is allowed only in {allowed} [context of {url}]", value=describe(url), allowed=allowed, url=url
            ),
        )
    head = next(iter(snapshot.elements.values()), {})
    is_modifier = trail[-1][0] == "modifierExtension"
    if is_modifier is not (head.get("isModifier") is True):
        expected = "extension" if is_modifier else "modifierExtension"
        yield RelativeIssue(
            "structure",
            Message(
                "{value} must be in {expected} [isModifier of {url}]", value=describe(url), expected=expected, url=url
            ),
        )


def _scope_at(trail: Trail, scope: ValidationScope) -> ValidationScope:
    for _, _, value in trail:
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
    current = full = str(resource.get("resourceType"))
    names = _with_ancestors(core, current)
    for name, _, value in trail[:-1]:
        key = name.removeprefix("_")
        node = core.node(current)
        entry = node.keys.get(key) if node else None
        if entry is None:
            return frozenset(("Element",))
        element, type_ref = entry
        if type_ref.code == "Resource":
            current = full = str(value.get("resourceType"))
            names = _with_ancestors(core, current)
            continue
        full = f"{full}.{element.name}"
        current = element.node or type_ref.code
        names = _with_ancestors(core, current) | {full, element.path.replace("[x]", "")}
        if element.node:
            names |= {"BackboneElement"}
    return names


def _with_ancestors(core: Definitions, name: str) -> frozenset[str]:
    return _ancestors(core, name) if core.node(name) is not None else frozenset((name, "Element"))


@cache  # bounded by the number of types
def _ancestors(core: Definitions, name: str) -> frozenset[str]:
    names = {name, "Element"}
    node = core.node(name)
    while node is not None and node.base:
        names.add(node.base)
        node = core.node(node.base)
    return frozenset(names)


def _path(core: Definitions, resource: Mapping[str, Any], trail: Trail) -> str:
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
