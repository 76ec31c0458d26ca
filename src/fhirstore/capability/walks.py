"""https://hl7.org/fhir/R4/search.html#chaining: the parameters that a declared chain or include walks."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore.capability.declared import Said
from fhirstore.capability.parameters import Parameters
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError

Step = tuple[str, SearchParameterDef]
"""A resource type, and the definition walked on it."""


def is_walk(name: str) -> bool:
    """A chain ("schedule.actor:Practitioner.identifier") or a reverse one ("_has:Slot:schedule:status")."""
    return "." in name or name.startswith("_has:")


def chain(parameters: Parameters, type: str, name: str, where: str) -> list[Step]:
    """The steps of a chain that starts on a type; the last one is what is compared.

    Raises StartupError when a part of it has no definition or is no reference."""
    if name.startswith("_has:"):
        source, link, rest = _split_has(name, where)
        return [(source, _reference(parameters, source, link, where)), *chain(parameters, source, rest, where)]
    first, dot, rest = name.partition(".")
    if not dot:
        return [(type, _definition(parameters, type, first, where))]
    code, _, chosen = first.partition(":")
    link_definition = _reference(parameters, type, code, where)
    steps = [(type, link_definition)]
    for target in _targets(parameters, type, link_definition, chosen, rest, where):
        steps += chain(parameters, target, rest, where)
    return steps


def include(parameters: Parameters, said: Said) -> Iterator[Step]:
    """The step of a declared include, "Source:param[:Target]"; wildcards walk only what is declared elsewhere.

    Raises StartupError when it names no reference parameter or a target that this one cannot have."""
    source, _, rest = said.text.partition(":")
    code, _, target = rest.partition(":")
    if source == "*" or code == "*":
        return
    if not code:
        raise StartupError(f"{said.where}: {said.text}: write Type:parameter or Type:parameter:Target, or *.")
    definition = _reference(parameters, source, code, said.where)
    if target and definition.targets and target not in definition.targets:
        raise StartupError(
            f"{said.where}: {said.text}: {source}:{code} never refers to {target}; "
            f"it refers to {', '.join(definition.targets)}."
        )
    yield source, definition


def _split_has(name: str, where: str) -> tuple[str, str, str]:
    parts = name.split(":", 3)
    if len(parts) != 4:
        raise StartupError(f"{where}: {name}: write _has:Type:reference parameter:parameter.")
    return parts[1], parts[2], parts[3]


def _targets(
    parameters: Parameters, type: str, link: SearchParameterDef, chosen: str, rest: str, where: str
) -> list[str]:
    """The types a link leads to: the one chosen, else all of its targets that have the parameter that follows."""
    if chosen:
        if link.targets and chosen not in link.targets:
            raise StartupError(
                f"{where}: {type}:{link.code} never refers to {chosen}, but to {', '.join(link.targets)}."
            )
        return [chosen]
    following = rest.partition(".")[0].partition(":")[0]
    found = [t for t in link.targets if parameters.find(t, following, where) is not None]
    if not found:
        raise StartupError(
            f"{where}: no type that {type}:{link.code} refers to has a search parameter {following}; "
            f"a type is chosen with {link.code}:Type.{rest}"
        )
    return found


def _reference(parameters: Parameters, type: str, code: str, where: str) -> SearchParameterDef:
    definition = _definition(parameters, type, code, where)
    if definition.type != "reference":
        raise StartupError(f"{where}: {type}:{code} is of type {definition.type}; only a reference can be followed.")
    return definition


def _definition(parameters: Parameters, type: str, code: str, where: str) -> SearchParameterDef:
    definition = parameters.find(type, code, where)
    if definition is None:
        known = ", ".join(parameters.codes(type))
        raise StartupError(
            f"{where}: neither R4 nor a loaded package defines a search parameter {code} on {type} "
            f"(defined: {known or 'none'}); what defines it is loaded with --plugin NAME, or installed "
            "with fhirstore package add."
        )
    return definition
