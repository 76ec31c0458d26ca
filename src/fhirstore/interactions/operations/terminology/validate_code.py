"""https://hl7.org/fhir/R4/valueset-operation-validate-code.html and
https://hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.interactions.operations.terminology.parameters import (
    codes_to_validate,
    missing_parameter,
    refuse_past_date,
    requested_value_set,
    stored_instance,
    unresolved_as_error,
)
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.plugins.model import OperationRequest
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import Coding, Unresolved
from fhirstore.terminology.validate_code import (
    CodeToValidate,
    CodeValidation,
    ValidationOptions,
    validate_by_grammar,
    validate_in_code_system,
    validate_in_value_set,
)


@unresolved_as_error(422)
def validate_code_in_value_set(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns whether a code is in a value set."""
    refuse_past_date(operation)
    snapshot = server.terminology.current()
    codes = codes_to_validate(operation, "system", "systemVersion")
    value_set = requested_value_set(server, snapshot, operation)
    return validate_in_value_set(snapshot, value_set, codes, _options(operation)).to_json()


@unresolved_as_error(404)
def validate_code_in_code_system(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns whether a code is in a code system."""
    refuse_past_date(operation)
    snapshot = server.terminology.current()
    codes = codes_to_validate(operation, None, None)
    resource = stored_instance(server, operation) if operation.id is not None else operation.one("codeSystem")
    if resource is not None:
        code_system = snapshot.compile_code_system(resource)
        return validate_in_code_system(code_system, codes, _options(operation)).to_json()
    url = operation.one("url") or codes[0].coding.system
    if not url:
        raise missing_parameter("url", "codeSystem")
    try:
        code_system = snapshot.require_code_system(url, operation.one("version"))
        return validate_in_code_system(code_system, codes, _options(operation)).to_json()
    except Unresolved as reason:
        if url in GRAMMARS:
            return validate_by_grammar(url, codes).to_json()
        return _validate_remotely(server, url, operation.one("version"), codes, reason).to_json()


def _validate_remotely(
    server: Server, url: str, version: str | None, codes: list[CodeToValidate], reason: Unresolved
) -> CodeValidation:
    """The result of another server, if one is set. Raises Unresolved."""
    remote = server.terminology.remote
    if remote is None:
        raise reason
    codings = [one.coding for one in codes if one.coding.system in (None, url)]
    if any(remote.is_code(Coding(url, c.code, c.version or version)) for c in codings):
        return CodeValidation(True)
    names = ", ".join(repr(one.coding.code) for one in codes)
    text = Message(
        "the code system {url} has no code {names} according to the terminology server {base}",
        url=url,
        names=names,
        base=remote.base,
    )
    return CodeValidation(False, text)


def _options(operation: OperationRequest) -> ValidationOptions:
    return ValidationOptions(operation.one("abstract"), operation.one("displayLanguage"))
