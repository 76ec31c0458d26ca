"""https://hl7.org/fhir/R4/operationdefinition.html: the operations that statements declare and that plugins add, their
definitions read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from fhirstore.capability.declared import SaidOperation
from fhirstore.capability.registry import OperationParameter, ServedOperation
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError

ALLOWED_TYPE = "http://hl7.org/fhir/StructureDefinition/operationdefinition-allowed-type"
_ANY = ("Type", "Any", "*")


def served_operations(catalog: Catalog, said: Iterable[SaidOperation], type: str | None) -> dict[str, ServedOperation]:
    """The operations declared on a resource type, None = on the system, by name without "$".

    Raises StartupError for a definition that nothing has, that is faulty, or that does not go with the place, and for
    two definitions of one name."""
    found: dict[str, ServedOperation] = {}
    for one in said:
        served = _serve(catalog, one, type)
        known = found.setdefault(served.name, served)
        if known.url != served.url:
            raise StartupError(
                f"{one.where}: ${served.name} is {served.url} here, but {known.url} at {known.where}; "
                "one URL cannot be both."
            )
    return found


class Additions:
    """The operations that plugins define and can do: their packages' definitions with a function (docs/adr/0013).

    able: the canonicals for which plugins have a function. R4's own operations are never added: a plugin that does one
    of them takes the place of fhirstore's function where a statement declares it."""

    def __init__(self, catalog: Catalog, able: Collection[str]) -> None:
        self._core = catalog.core
        known = catalog.core.operations()
        self._found = [
            (
                definition,
                SaidOperation(str(definition.get("code")), str(url), None, catalog.file(definition) or str(url)),
            )
            for definition in added_resources(catalog, "OperationDefinition")
            if (url := definition.get("url")) in able and url not in known
        ]

    def of_type(self, type: str, said: Iterable[SaidOperation]) -> list[SaidOperation]:
        """What is declared on a served type, with what is added there: all that is for the type or its instances. A
        name that the statement gives to another operation stays with that."""
        added = [
            one
            for definition, one in self._found
            if (definition.get("type") is True or definition.get("instance") is True) and self._is_for(definition, type)
        ]
        return _with(said, added)

    def of_system(self, types: Iterable[str], said: Iterable[SaidOperation]) -> list[SaidOperation]:
        """The same at the system level: all that is for the system, if one of the types it is for is served."""
        served = list(types)
        added = [
            one
            for definition, one in self._found
            if definition.get("system") is True
            and (not definition.get("resource") or any(self._is_for(definition, type) for type in served))
        ]
        return _with(said, added)

    def _is_for(self, definition: Mapping[str, Any], type: str) -> bool:
        return any(self._core.is_a(type, base) for base in definition.get("resource", ()))


def _with(said: Iterable[SaidOperation], added: Iterable[SaidOperation]) -> list[SaidOperation]:
    declared = list(said)
    names = {one.name.removeprefix("$") for one in declared}
    return declared + [one for one in added if one.name not in names]


def find_definition(catalog: Catalog, canonical: str) -> dict[str, Any] | None:
    """The OperationDefinition of a package or of R4 itself, None when nothing defines it."""
    core = catalog.core
    return catalog.resource("OperationDefinition", canonical) or core.operations().get(
        canonical.removesuffix("|" + core.version)
    )


def _serve(catalog: Catalog, said: SaidOperation, type: str | None) -> ServedOperation:
    definition = find_definition(catalog, said.definition)
    if definition is None:
        raise StartupError(
            f"{said.where}.definition: the OperationDefinition {said.definition} is not defined by R4 nor by any "
            "loaded package. The plugin that defines it is loaded with --plugin NAME."
        )
    source = catalog.file(definition) or said.definition
    try:
        served = _read(catalog, definition, said)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise StartupError(f"{source}: the OperationDefinition cannot be read: {e!r}") from e
    _check_place(catalog, definition, served, said, type)
    return served


def _read(catalog: Catalog, definition: Mapping[str, Any], said: SaidOperation) -> ServedOperation:
    parameters = definition.get("parameter", ())
    affects = definition.get("affectsState")
    return ServedOperation(
        name=str(definition["code"]),
        url=str(definition["url"]),
        system=definition["system"] is True,
        type=definition["type"] is True,
        instance=definition["instance"] is True,
        affects_state=affects if isinstance(affects, bool) else None,
        inputs={p["name"]: _parameter(catalog, p) for p in parameters if p["use"] == "in"},
        outputs={p["name"]: _parameter(catalog, p) for p in parameters if p["use"] == "out"},
        where=said.where,
        documentation=said.documentation,
    )


def _parameter(catalog: Catalog, raw: Mapping[str, Any]) -> OperationParameter:
    most = raw.get("max", "*")
    binding = raw.get("binding", {})
    required = binding.get("valueSet") if binding.get("strength") == "required" else None
    return OperationParameter(
        name=raw["name"],
        min=int(raw.get("min", 0)),
        max=None if most == "*" else int(most),
        types=_types(raw),
        parts={part["name"]: _parameter(catalog, part) for part in raw.get("part", ())},
        codes=catalog.core.codes(required) if required else None,
    )


def _types(raw: Mapping[str, Any]) -> tuple[str, ...]:
    allowed = tuple(e["valueUri"] for e in raw.get("extension", ()) if e["url"] == ALLOWED_TYPE)
    if allowed:
        return allowed
    declared = raw.get("type")
    if declared is None and "part" not in raw:
        raise ValueError(f"parameter {raw['name']} has neither type nor part")
    if declared in _ANY:
        return ("Element", "Resource") if declared != "Type" else ("Element",)
    return (declared,) if declared is not None else ()


def _check_place(
    catalog: Catalog, definition: Mapping[str, Any], served: ServedOperation, said: SaidOperation, type: str | None
) -> None:
    if definition.get("kind") != "operation":
        raise StartupError(f"{said.where}: {served.url} is a query; fhirstore serves operations only.")
    if said.name.removeprefix("$") != served.name:
        raise StartupError(f"{said.where}.name: {said.name}, but its definition {served.url} says {served.name}.")
    if type is None:
        if not served.system:
            raise StartupError(
                f"{said.where}: ${served.name} is no operation of the system level; "
                "declare it in the operation of a resource."
            )
        return
    if not (served.type or served.instance):
        raise StartupError(
            f"{said.where}: ${served.name} is an operation of the system level only; declare it in rest.operation."
        )
    bases = definition.get("resource", ())
    if not any(catalog.core.is_a(type, base) for base in bases):
        raise StartupError(f"{said.where}: ${served.name} is for {', '.join(bases) or 'no type'}, not for {type}.")
