"""https://hl7.org/fhir/R4/extensibility.html: every extension against its own definition, wherever it stands.

What a definition demands of the value, and the context in which it may be used
(https://hl7.org/fhir/R4/defining-extensions.html#context). An extension that nothing at hand defines is let pass; a
modifierExtension gives a warning, since it may change the meaning of what holds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fhirstore.definitions.core import Definitions
from fhirstore.validation.findings import Findings, Problem, describe
from fhirstore.validation.scope import Scope

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository

Trail = tuple[tuple[str, int | None, dict[str, Any]], ...]
"""From the resource down: (JSON property, index in its array, the object that it leads to)."""

_KEYS = frozenset({"extension", "modifierExtension"})


def check_extensions(structures: ProfileRepository, resource: dict[str, Any], scope: Scope) -> Findings | None:
    """The faults of all extensions in a resource, and in those that it contains; paths below the resource."""
    places: list[tuple[dict[str, Any], Trail]] = []
    _collect(resource, (), places)
    found: Findings | None = None
    for extension, trail in places:
        part = _check(structures, resource, extension, trail, scope)
        if part is not None:
            found = found or Findings()
            found.absorb(part, _path(structures.core, resource, trail))
    return found


def _collect(value: dict[str, Any], trail: Trail, out: list[tuple[dict[str, Any], Trail]]) -> None:
    """All extensions that carry an absolute url; the parts of a complex one are checked with the whole."""
    for key, item in value.items():
        if type(item) is dict:
            _collect(item, (*trail, (key, None, item)), out)
        elif type(item) is list:
            for index, one in enumerate(item):
                if type(one) is dict:
                    inner = (*trail, (key, index, one))
                    url = one.get("url") if key in _KEYS else None
                    if type(url) is str and ":" in url:
                        out.append((one, inner))
                    _collect(one, inner, out)


def _check(
    structures: ProfileRepository, root: dict[str, Any], extension: dict[str, Any], trail: Trail, scope: Scope
) -> Findings | None:
    url = extension["url"]
    modifies = trail[-1][0] == "modifierExtension"
    if not structures.known(url):
        if not modifies or structures.of_r4(url):
            return None
        text = f"{describe(url)} is not defined by anything at hand; it may change the meaning of what holds it"
        return Findings([], [Problem("not-supported", text)])
    found = None
    if (id(extension), url) not in scope.clean:  # the profile of what holds it may have looked at it already
        found = structures.rule(url)(extension, _scope_at(trail, scope))
    found = found or Findings()
    snapshot = structures.snapshot(url)
    if snapshot.type != "Extension":
        found.errors.append(Problem("value", f"{describe(url)} is a {snapshot.type}, no extension", ".url"))
    definition = snapshot.structure or {}
    names = contexts(structures.core, root, trail)
    declared = definition.get("context", ())
    if declared and not any(_stands(context, names, trail) for context in declared):
        wanted = ", ".join(str(c.get("expression")) for c in declared)
        text = f"{describe(url)} may stand in {wanted} only [context of {url}]"
        found.errors.append(Problem("structure", text))
    head = next(iter(snapshot.elements.values()), {})
    if modifies is not (head.get("isModifier") is True):
        wanted = "extension" if modifies else "modifierExtension"
        found.errors.append(Problem("structure", f"{describe(url)} must stand in {wanted} [isModifier of {url}]"))
    return found if found.errors or found.warnings else None


def _scope_at(trail: Trail, scope: Scope) -> Scope:
    for _, _, value in trail:
        scope = scope.around(value)
    return scope


def _stands(context: Mapping[str, Any], names: Iterable[str], trail: Trail) -> bool:
    kind, expression = context.get("type"), str(context.get("expression"))
    if kind == "extension":
        outer = [v.get("url") for key, _, v in trail[:-1] if key in _KEYS]
        return bool(outer) and expression.partition("#")[0] in (outer[-1], *outer[:1])
    if kind == "element":
        # an element of a profile ("url#id") or of a slice cannot be told from here
        return "#" in expression or ":" in expression or expression.replace("[x]", "") in names
    return True  # a FHIRPath


def contexts(core: Definitions, resource: Mapping[str, Any], trail: Trail) -> frozenset[str]:
    """The names by which a definition may call the place of an extension: its element from the resource and from the
    data type that it is part of, its type, and what these specialise."""
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


@cache  # there are as many as types
def _ancestors(core: Definitions, name: str) -> frozenset[str]:
    names = {name, "Element"}
    node = core.node(name)
    while node is not None and node.base:
        names.add(node.base)
        node = core.node(node.base)
    return frozenset(names)


def _path(core: Definitions, resource: Mapping[str, Any], trail: Trail) -> str:
    """The FHIRPath of a trail below its resource; a choice goes by the name of its element."""
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
