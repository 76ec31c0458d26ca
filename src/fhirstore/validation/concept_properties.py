"""https://hl7.org/fhir/R4/codesystem.html#properties: the properties of the concepts of a CodeSystem.

A property has a code that the CodeSystem declares, and a value of the declared type. Properties with a URI of R4
(https://hl7.org/fhir/R4/codesystem-concept-properties.html) have the type that R4 gives them. Severities are those of
the reference validator (org.hl7.fhir.core).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import MAX_ISSUES, IssueList, RelativeIssue
from fhirstore.validation.text import describe, listed

Json = Mapping[str, Any]

_RULE = "concept-property"
_STANDARD = "http://hl7.org/fhir/concept-properties#"
_STANDARD_TYPES: Mapping[str, str] = {
    "inactive": "boolean",
    "deprecated": "dateTime",
    "notSelectable": "boolean",
    "parent": "code",
    "child": "code",
}
_VALUE_KEYS: Mapping[str, str] = {
    "valueCode": "code",
    "valueCoding": "Coding",
    "valueString": "string",
    "valueInteger": "integer",
    "valueBoolean": "boolean",
    "valueDateTime": "dateTime",
    "valueDecimal": "decimal",
}


def check_concept_properties(code_system: Json) -> IssueList | None:
    """The issues of the properties of a CodeSystem that is otherwise valid."""
    found = IssueList()
    types: dict[str, str] = {}
    uris: set[str] = set()
    for number, declared in enumerate(code_system.get("property", ())):
        path, code, uri = f".property[{number}]", str(declared.get("code")), str(declared.get("uri", ""))
        if code in types:
            text = Message("another property has the code {code} too", code=describe(code))
            found.errors.append(_issue("duplicate", path, text))
        if uri and uri in uris:
            text = Message("another property has the uri {uri} too", uri=describe(uri))
            found.errors.append(_issue("duplicate", path, text))
        type = str(declared.get("type"))
        standard = _STANDARD_TYPES.get(uri.removeprefix(_STANDARD)) if uri.startswith(_STANDARD) else None
        if standard not in (None, type):
            text = Message(
                "{uri} identifies a property of the type {standard}, not {type}",
                uri=describe(uri),
                standard=standard,
                type=type,
            )
            found.errors.append(_issue("value", path, text))
        types.setdefault(code, type)
        uris.add(uri)
    _check_concepts(code_system, types, found)
    return found if found.errors or found.warnings else None


def _check_concepts(code_system: Json, types: Mapping[str, str], found: IssueList) -> None:
    """Adds the issues of the concepts. types: the declared types by code."""
    concepts = list(_concepts(code_system, ""))
    codes = {concept.get("code") for _, concept in concepts}
    is_complete = code_system.get("content") == "complete"
    for path, concept in concepts:
        for number, one in enumerate(concept.get("property", ())):
            here = f"{path}.property[{number}]"
            key = next((key for key in one if key in _VALUE_KEYS), None)
            code, declared = one.get("code"), types.get(str(one.get("code")))
            if declared is None:
                if code not in _STANDARD_TYPES and len(found.warnings) <= MAX_ISSUES:
                    found.warnings.append(_issue("not-found", here, _undeclared(code, types)))
            elif key is not None and _VALUE_KEYS[key] != declared:
                text = Message(
                    "the property {code} has the type {type}, but CodeSystem.property declares {declared}",
                    code=describe(code),
                    type=_VALUE_KEYS[key],
                    declared=declared,
                )
                found.errors.append(_issue("value", here, text))
            elif declared == "code" and is_complete and "valueCode" in one and one["valueCode"] not in codes:
                text = Message(
                    "{value} is no code of this CodeSystem; a property of the type code refers to one of its concepts",
                    value=describe(one["valueCode"]),
                )
                found.warnings.append(_issue("code-invalid", here, text))
        if found.is_full:
            return


def _undeclared(code: Any, types: Mapping[str, str]) -> Message:
    declared = listed(types) or Message("none")
    return Message(
        "the property {code} is not declared in CodeSystem.property; declared: {declared}",
        code=describe(code),
        declared=declared,
    )


def _concepts(parent: Json, path: str) -> Iterator[tuple[str, Json]]:
    """(FHIRPath, concept) of all concepts at any depth."""
    for number, concept in enumerate(parent.get("concept", ())):
        here = f"{path}.concept[{number}]"
        yield here, concept
        yield from _concepts(concept, here)


def _issue(code: str, path: str, text: Message) -> RelativeIssue:
    return RelativeIssue(code, text, path, _RULE)
