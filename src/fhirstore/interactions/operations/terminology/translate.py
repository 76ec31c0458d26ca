"""https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirstore.interactions.operations.terminology.parameters import (
    codes_to_validate,
    missing_parameter,
    named_resource,
    unresolved_as_error,
)
from fhirstore.interactions.server import Server
from fhirstore.plugins.model import OperationRequest
from fhirstore.terminology.model import Coding, Resource
from fhirstore.terminology.service import TerminologySnapshot
from fhirstore.terminology.translation import TranslationRequest, matching_maps
from fhirstore.terminology.translation import translate as translate_codes


@unresolved_as_error(422)
def translate(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns the translations of a code by the available concept maps."""
    codes = codes_to_validate(operation, "system", "version")
    if any(not one.coding.system for one in codes):
        raise missing_parameter("system")
    translation = TranslationRequest(
        codings=[one.coding for one in codes],
        source=operation.one("source"),
        target=operation.one("target"),
        target_system=operation.one("targetsystem"),
        dependencies=[pair for part in operation.many("dependency") for pair in _dependency(part)],
        reverse=operation.one("reverse") is True,
    )
    snapshot = server.terminology.current()
    return translate_codes(snapshot, _concept_maps(server, snapshot, operation, translation), translation)


def _concept_maps(
    server: Server, snapshot: TerminologySnapshot, operation: OperationRequest, translation: TranslationRequest
) -> Iterable[Resource]:
    if operation.id is not None or operation.one("conceptMap") is not None or operation.one("url") is not None:
        return [named_resource(server, snapshot, operation, "ConceptMap", "conceptMap", "url", "conceptMapVersion")]
    if not (translation.source or translation.target or translation.target_system):
        raise missing_parameter("url", "conceptMap", "source", "target", "targetsystem")
    return matching_maps(snapshot, translation)


def _dependency(part: Mapping[str, Any]) -> list[tuple[str, Coding]]:
    element, concept = part.get("element", [None])[0], part.get("concept", [{}])[0]
    codings = [c for c in concept.get("coding", ()) if "code" in c]
    found = [(element, Coding(c.get("system"), c["code"])) for c in codings]
    if "text" in concept:
        found.append((element, Coding(None, concept["text"])))
    return found
