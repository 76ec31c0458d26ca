"""https://hl7.org/fhir/R4/operationdefinition.html: the operations that statements declare and plugins add."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from fhirstore.capability.declared import DeclaredOperation
from fhirstore.capability.omissions import Omissions
from fhirstore.capability.registry import OperationParameter, ServedOperation
from fhirstore.capability.sources import added_resources
from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError

ALLOWED_TYPE = "http://hl7.org/fhir/StructureDefinition/operationdefinition-allowed-type"
_ANY = ("Type", "Any", "*")


def served_operations(
    catalog: Catalog,
    declared: Iterable[DeclaredOperation],
    type: str | None,
    omissions: Omissions,
    is_implemented: Callable[[str], bool],
) -> dict[str, ServedOperation]:
    """The operations declared on a resource type by name without "$". type: None = the system level.

    Raises StartupError if a definition is missing, malformed or not allowed at this level, and for two definitions of
    one name. Optional declarations are omitted instead, also if is_implemented is false for their canonical."""
    found: dict[str, ServedOperation] = {}
    for one in declared:
        with omissions.tolerate(one.optional):
            served = _serve(catalog, one, type)
            if one.optional and not is_implemented(served.url):
                raise StartupError(f"{one.where}: the operation {served.url} is not implemented.")
            known = found.setdefault(served.name, served)
            if known.url != served.url:
                raise StartupError(
                    f"{one.where}: ${served.name} is {served.url} here, but {known.url} at {known.where}. Declare one "
                    "of them."
                )
    return found


class PackagedOperations:
    """The operations that plugins define in a package and implement in Python (docs/adr/0013).

    implemented: canonicals of the operations that plugins implement. built_in: those of fhirstore, None = any.
    Operations of R4 are never added: they must be declared, and the implementation of a plugin replaces the built-in
    one."""

    def __init__(self, catalog: Catalog, implemented: Collection[str], built_in: Collection[str] | None = None) -> None:
        self._core = catalog.core
        self._implemented, self._built_in = implemented, built_in
        known = catalog.core.operations()
        self._found = [
            (
                definition,
                DeclaredOperation(str(definition.get("code")), str(url), None, catalog.file(definition) or str(url)),
            )
            for definition in added_resources(catalog, "OperationDefinition")
            if (url := definition.get("url")) in implemented and url not in known
        ]

    def are_implemented(self, canonical: str) -> bool:
        """Whether fhirstore or a plugin implements the operations with this definition."""
        return self._built_in is None or canonical in self._built_in or canonical in self._implemented

    def of_type(self, type: str, declared: Iterable[DeclaredOperation]) -> list[DeclaredOperation]:
        """The declared operations of a served type, and those of plugins for the type or its instances.

        A declared operation takes precedence over one of the same name."""
        added = [
            one
            for definition, one in self._found
            if (definition.get("type") is True or definition.get("instance") is True)
            and self._applies_to(definition, type)
        ]
        return _combined(declared, added)

    def of_system(self, types: Iterable[str], declared: Iterable[DeclaredOperation]) -> list[DeclaredOperation]:
        """The declared operations of the system level, and those of plugins whose types are served."""
        served = list(types)
        added = [
            one
            for definition, one in self._found
            if definition.get("system") is True
            and (not definition.get("resource") or any(self._applies_to(definition, type) for type in served))
        ]
        return _combined(declared, added)

    def _applies_to(self, definition: Mapping[str, Any], type: str) -> bool:
        return any(self._core.is_a(type, base) for base in definition.get("resource", ()))


def _combined(declared: Iterable[DeclaredOperation], added: Iterable[DeclaredOperation]) -> list[DeclaredOperation]:
    combined = list(declared)
    names = {one.name.removeprefix("$") for one in combined}
    return combined + [one for one in added if one.name not in names]


def find_definition(catalog: Catalog, canonical: str) -> dict[str, Any] | None:
    """The OperationDefinition of a package or of R4, or None."""
    core = catalog.core
    return catalog.resource("OperationDefinition", canonical) or core.operations().get(
        canonical.removesuffix("|" + core.version)
    )


def _serve(catalog: Catalog, declared: DeclaredOperation, type: str | None) -> ServedOperation:
    definition = find_definition(catalog, declared.definition)
    if definition is None:
        raise StartupError(
            f"{declared.where}.definition: neither R4 nor a loaded package defines the OperationDefinition "
            f"{declared.definition}. Load the plugin that defines it with --plugin NAME."
        )
    source = catalog.file(definition) or declared.definition
    try:
        served = _read(catalog, definition, declared)
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise StartupError(f"{source}: the OperationDefinition is malformed: {e!r}") from e
    _check_level(catalog, definition, served, declared, type)
    return served


def _read(catalog: Catalog, definition: Mapping[str, Any], declared: DeclaredOperation) -> ServedOperation:
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
        where=declared.where,
        documentation=declared.documentation,
    )


def _parameter(catalog: Catalog, raw: Mapping[str, Any]) -> OperationParameter:
    maximum = raw.get("max", "*")
    binding = raw.get("binding", {})
    required = binding.get("valueSet") if binding.get("strength") == "required" else None
    return OperationParameter(
        name=raw["name"],
        min=int(raw.get("min", 0)),
        max=None if maximum == "*" else int(maximum),
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


def _check_level(
    catalog: Catalog,
    definition: Mapping[str, Any],
    served: ServedOperation,
    declared: DeclaredOperation,
    type: str | None,
) -> None:
    if definition.get("kind") != "operation":
        raise StartupError(f"{declared.where}: {served.url} is a query; fhirstore supports only operations.")
    if declared.name.removeprefix("$") != served.name:
        raise StartupError(
            f"{declared.where}.name: {declared.name} differs from the code in the definition {served.url}: "
            f"{served.name}."
        )
    if type is None:
        if not served.system:
            raise StartupError(
                f"{declared.where}: ${served.name} is not a system-level operation; declare it in "
                "rest.resource.operation."
            )
        return
    if not (served.type or served.instance):
        raise StartupError(
            f"{declared.where}: ${served.name} is only a system-level operation; declare it in rest.operation."
        )
    bases = definition.get("resource", ())
    if not any(catalog.core.is_a(type, base) for base in bases):
        raise StartupError(
            f"{declared.where}: ${served.name} applies to {', '.join(bases) or 'no type'}, not to {type}."
        )
