"""https://hl7.org/fhir/R4/search.html#chaining: the search parameters that a declared chain or include follows."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore.capability.declared import DeclaredText
from fhirstore.capability.search_parameters import SearchParameterDefinitions
from fhirstore.definitions.model import SearchParameterDef
from fhirstore.errors import StartupError

ChainStep = tuple[str, SearchParameterDef]
"""A resource type and a search parameter of it."""


def is_chain(name: str) -> bool:
    """Whether a name is a chain ("schedule.actor:Practitioner.name") or a reverse one ("_has:Slot:schedule:status")."""
    return "." in name or name.startswith("_has:")


def chain_steps(parameters: SearchParameterDefinitions, type: str, name: str, where: str) -> list[ChainStep]:
    """The steps of a chain that starts on a type; the last one is the parameter to compare.

    Raises StartupError if a parameter is undefined or must be a reference but is not."""
    if name.startswith("_has:"):
        source, link, rest = _split_has(name, where)
        return [(source, _reference(parameters, source, link, where)), *chain_steps(parameters, source, rest, where)]
    first, dot, rest = name.partition(".")
    if not dot:
        return [(type, _definition(parameters, type, first, where))]
    code, _, chosen = first.partition(":")
    link_definition = _reference(parameters, type, code, where)
    steps = [(type, link_definition)]
    for target in _targets(parameters, type, link_definition, chosen, rest, where):
        steps += chain_steps(parameters, target, rest, where)
    return steps


def include_steps(parameters: SearchParameterDefinitions, include: DeclaredText) -> Iterator[ChainStep]:
    """The step of a declared include, "Source:param[:Target]"; a wildcard has none.

    Raises StartupError if the parameter is not a reference or cannot refer to the target."""
    source, _, rest = include.text.partition(":")
    code, _, target = rest.partition(":")
    if source == "*" or code == "*":
        return
    if not code:
        raise StartupError(
            f"{include.where}: {include.text}: the format is Type:parameter, Type:parameter:Target or *."
        )
    definition = _reference(parameters, source, code, include.where)
    if target and definition.targets and target not in definition.targets:
        raise StartupError(
            f"{include.where}: {include.text}: {source}:{code} cannot refer to {target}. Allowed: "
            f"{', '.join(definition.targets)}."
        )
    yield source, definition


def _split_has(name: str, where: str) -> tuple[str, str, str]:
    parts = name.split(":", 3)
    if len(parts) != 4:
        raise StartupError(f"{where}: {name}: the format is _has:Type:reference-parameter:parameter.")
    return parts[1], parts[2], parts[3]


def _targets(
    parameters: SearchParameterDefinitions, type: str, link: SearchParameterDef, chosen: str, rest: str, where: str
) -> list[str]:
    """The types that a reference leads to: the chosen one, else all targets that have the next parameter."""
    if chosen:
        if link.targets and chosen not in link.targets:
            raise StartupError(
                f"{where}: {type}:{link.code} cannot refer to {chosen}. Allowed: {', '.join(link.targets)}."
            )
        return [chosen]
    following = rest.partition(".")[0].partition(":")[0]
    found = [t for t in link.targets if parameters.find(t, following, where) is not None]
    if not found:
        raise StartupError(
            f"{where}: no target type of {type}:{link.code} has a search parameter {following}. To choose a type, use "
            f"{link.code}:Type.{rest}."
        )
    return found


def _reference(parameters: SearchParameterDefinitions, type: str, code: str, where: str) -> SearchParameterDef:
    definition = _definition(parameters, type, code, where)
    if definition.type != "reference":
        raise StartupError(f"{where}: {type}:{code} has type {definition.type}; a chain requires a reference.")
    return definition


def _definition(parameters: SearchParameterDefinitions, type: str, code: str, where: str) -> SearchParameterDef:
    definition = parameters.find(type, code, where)
    if definition is None:
        known = ", ".join(parameters.codes(type))
        raise StartupError(
            f"{where}: neither R4 nor a loaded package defines a search parameter {code} for {type} (defined: "
            f"{known or 'none'}). Load its package with --plugin NAME, or install it with fhirstore package add."
        )
    return definition
