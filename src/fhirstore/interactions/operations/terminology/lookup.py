"""https://hl7.org/fhir/R4/codesystem-operation-lookup.html and
https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.operations.terminology.parameters import (
    missing_parameter,
    refuse_past_date,
    stored_instance,
    unresolved_as_error,
)
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.plugins.model import OperationRequest
from fhirstore.terminology.lookup import look_up, subsumption
from fhirstore.terminology.model import Coding, Unresolved


@unresolved_as_error(404)
def lookup(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns the details of a code."""
    refuse_past_date(operation)
    coding = _coding(operation, "code", "coding", "version")
    if not coding.system:
        raise missing_parameter("system")
    snapshot = server.terminology.current()
    try:
        code_system = snapshot.require_code_system(coding.system, coding.version)
    except Unresolved:
        if server.terminology.remote is None:
            raise
        return server.terminology.remote.look_up(_forwarded(operation, coding))
    definitions = snapshot.concept_definitions(code_system)
    language = operation.one("displayLanguage")
    return look_up(code_system, coding.code, operation.many("property"), language, definitions)


@unresolved_as_error(404)
def subsumes(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns the relation between two codes of one code system."""
    a, b = _coding(operation, "codeA", "codingA", "version"), _coding(operation, "codeB", "codingB", "version")
    snapshot = server.terminology.current()
    if operation.id is not None:
        code_system = snapshot.compile_code_system(stored_instance(server, operation))
        foreign = next((c for c in (a, b) if c.system not in (None, "", code_system.url)), None)
    else:
        url = a.system or b.system
        if not url:
            raise missing_parameter("system")
        code_system = snapshot.require_code_system(url, a.version or b.version)
        foreign = next((c for c in (a, b) if c.system not in (None, "", url)), None)
    if foreign is not None:
        text = Message(
            "{system}|{code} does not belong to {url}. Both codes must belong to the same code system.",
            system=foreign.system,
            code=foreign.code,
            url=code_system.url,
        )
        raise error(400, "invalid", text, "Parameters")
    return {"outcome": subsumption(code_system, a.code, b.code)}


def _forwarded(operation: OperationRequest, coding: Coding) -> list[Mapping[str, Any]]:
    """The parameters for another server."""
    language = operation.one("displayLanguage")
    parameters = [("system", "valueUri", coding.system), ("code", "valueCode", coding.code)]
    parameters += [("version", "valueString", coding.version), ("displayLanguage", "valueCode", language)]
    parameters += [("property", "valueCode", name) for name in operation.many("property")]
    return [{"name": name, kind: value} for name, kind, value in parameters if value is not None]


def _coding(operation: OperationRequest, code: str, coding: str, version: str) -> Coding:
    """The code of the parameter `code` (with system and version) or `coding`. Raises 400 unless one is present."""
    code_value, coding_value = operation.one(code), operation.one(coding)
    if (code_value is None) == (coding_value is None):
        found = "both" if code_value is not None else Message("none of them")
        status = "required" if code_value is None else "invalid"
        raise error(
            400,
            status,
            Message(
                "Exactly one of {code} and {coding} is required; found: {found}.", code=code, coding=coding, found=found
            ),
        )
    if code_value is not None:
        return Coding(operation.one("system"), code_value, operation.one(version))
    if "code" not in coding_value:
        raise error(400, "required", Message("{coding} has no code.", coding=coding), "Parameters")
    return Coding(coding_value.get("system"), coding_value["code"], coding_value.get("version"))
