"""The operations that fhirstore can do: its own, and those of plugins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError
from fhirstore.interactions.operations.terminology.closure import closure
from fhirstore.interactions.operations.terminology.expand import expand
from fhirstore.interactions.operations.terminology.lookup import lookup, subsumes
from fhirstore.interactions.operations.terminology.translate import translate
from fhirstore.interactions.operations.terminology.validate_code import (
    validate_code_in_code_system,
    validate_code_in_value_set,
)
from fhirstore.interactions.operations.validate import validate
from fhirstore.interactions.server import OperationHandler, Server
from fhirstore.plugins.context import PluginContext
from fhirstore.plugins.model import OperationRequest, PluginOperation

R4 = "http://hl7.org/fhir/OperationDefinition/"

BUILT_IN: Mapping[str, OperationHandler] = {
    R4 + "Resource-validate": OperationHandler(validate, affects_state=False),
    R4 + "CodeSystem-lookup": OperationHandler(lookup, affects_state=False),
    R4 + "CodeSystem-subsumes": OperationHandler(subsumes, affects_state=False),
    R4 + "CodeSystem-validate-code": OperationHandler(validate_code_in_code_system, affects_state=False),
    R4 + "ConceptMap-closure": OperationHandler(closure),
    R4 + "ConceptMap-translate": OperationHandler(translate, affects_state=False),
    R4 + "ValueSet-expand": OperationHandler(expand, affects_state=False),
    R4 + "ValueSet-validate-code": OperationHandler(validate_code_in_value_set, affects_state=False),
}
"""By the canonicals of their definitions."""


def implementations(
    registry: Registry, plugins: Mapping[str, tuple[str, PluginOperation]]
) -> dict[str, OperationHandler]:
    """What does each operation that the registry declares. Raises StartupError for one that nothing can do."""
    can = {**BUILT_IN, **{canonical: _of_plugin(*found) for canonical, found in plugins.items()}}
    declared = [*registry.operations.values(), *(o for t in registry.types.values() for o in t.operations.values())]
    for operation in declared:
        if operation.url not in can:
            raise StartupError(
                f"{operation.where}: neither fhirstore nor a loaded plugin can do {operation.url}; "
                f"there are functions for {', '.join(sorted(can))}."
            )
    return can


def _of_plugin(plugin: str, operation: PluginOperation) -> OperationHandler:
    run: Callable[[OperationRequest, PluginContext], Mapping[str, Any] | None] = operation.run

    def call(server: Server, request: OperationRequest) -> Mapping[str, Any] | None:
        return run(request, server.contexts.of(plugin))

    return OperationHandler(call, operation.affects_state)
