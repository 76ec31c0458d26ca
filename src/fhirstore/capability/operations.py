"""https://hl7.org/fhir/R4/operationdefinition.html: the operations that statements declare, their definitions read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirstore.capability.declared import SaidOperation
from fhirstore.capability.registry import OperationParameter, ServedOperation
from fhirstore.capability.sources import package_file
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
    source = package_file(catalog, definition) or said.definition
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
