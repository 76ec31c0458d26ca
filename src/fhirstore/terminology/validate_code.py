"""$validate-code: https://hl7.org/fhir/R4/valueset-operation-validate-code.html and
https://hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhirstore.model.messages import Message, series
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.display import display_in, same_display
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import Coding, Unresolved
from fhirstore.terminology.service import TerminologySnapshot
from fhirstore.terminology.value_sets import ValueSet


@dataclass(frozen=True, slots=True)
class CodeToValidate:
    """A code and its display; None = no display to check."""

    coding: Coding
    display: str | None = None


@dataclass(frozen=True, slots=True)
class CodeValidation:
    """The out parameters of $validate-code."""

    result: bool
    message: str | None = None
    display: str | None = None

    def to_json(self) -> dict[str, object]:
        out = {"result": self.result, "message": self.message, "display": self.display}
        return {key: value for key, value in out.items() if value is not None}


@dataclass(frozen=True, slots=True)
class ValidationOptions:
    """abstract: False rejects abstract codes. language: of displays, None = the default of the code system."""

    abstract: bool | None = None
    language: str | None = None


def validate_in_value_set(
    snapshot: TerminologySnapshot, value_set: ValueSet, codes: Sequence[CodeToValidate], options: ValidationOptions
) -> CodeValidation:
    """Whether one of the codes is in the value set. Raises Unresolved if this is unknown."""
    unknown: str | None = None
    failures: list[CodeValidation] = []
    for one in codes:
        membership = value_set.membership(one.coding.system, one.coding.code)
        if membership is True:
            validation = _validate_member(_code_system_of(snapshot, value_set, one.coding), one, options)
            if validation.result:
                return validation
            failures.append(validation)
        elif membership is False:
            text = Message("{label} is not in the value set {url}", label=_label(one.coding), url=value_set.url)
            failures.append(CodeValidation(False, text))
        else:
            unknown = unknown or membership
    if unknown is not None:
        text = Message(
            "the server cannot decide whether {labels} is in the value set {url}: {unknown}",
            labels=_labels(codes),
            url=value_set.url,
            unknown=unknown,
        )
        raise Unresolved(text)
    return _combined(
        failures, Message("the request has no code to validate against the value set {url}", url=value_set.url)
    )


def validate_in_code_system(
    code_system: CodeSystem, codes: Sequence[CodeToValidate], options: ValidationOptions
) -> CodeValidation:
    """Whether one of the codes is in the code system. Raises Unresolved if this is unknown."""
    failures: list[CodeValidation] = []
    is_unknown = False
    for one in codes:
        if one.coding.system not in (None, code_system.url):
            text = Message(
                "{label} does not belong to the code system {url}", label=_label(one.coding), url=code_system.url
            )
            failures.append(CodeValidation(False, text))
        elif code_system.find(one.coding.code) is not None:
            validation = _validate_member(code_system, one, options)
            if validation.result:
                return validation
            failures.append(validation)
        elif code_system.is_complete:
            text = Message(
                "the code system {canonical} has no code {code}",
                canonical=code_system.canonical,
                code=repr(one.coding.code),
            )
            failures.append(CodeValidation(False, text))
        else:
            is_unknown = True
    if is_unknown:
        text = Message(
            "the code system {url} is incomplete (content: {content}) and does not contain {labels}",
            url=code_system.url,
            content=code_system.content,
            labels=_labels(codes),
        )
        raise Unresolved(text, "incomplete")
    return _combined(
        failures, Message("the request has no code to validate against the code system {url}", url=code_system.url)
    )


def validate_by_grammar(url: str, codes: Sequence[CodeToValidate]) -> CodeValidation:
    """Whether one of the codes is well-formed in a code system that is defined by a grammar."""
    is_well_formed = GRAMMARS[url]
    if any(one.coding.system in (None, url) and is_well_formed(one.coding.code) for one in codes):
        return CodeValidation(True)
    return CodeValidation(
        False, Message("{labels} does not follow the syntax of {url}", labels=_labels(codes), url=url)
    )


def _code_system_of(snapshot: TerminologySnapshot, value_set: ValueSet, coding: Coding) -> CodeSystem | None:
    """The code system of a code that is in the value set."""
    if coding.system is None:
        try:
            return next((e.code_system for e in value_set.entries() if e.code == coding.code), None)
        except Unresolved:
            return None
    canonical = f"{coding.system}|{coding.version}" if coding.version else coding.system
    return snapshot.code_system(canonical) or snapshot.code_system(coding.system)


def _validate_member(
    code_system: CodeSystem | None, code: CodeToValidate, options: ValidationOptions
) -> CodeValidation:
    """Validates the version, the display and the use of a code that is a member."""
    coding = code.coding
    concept = code_system.find(coding.code) if code_system is not None else None
    if code_system is None or concept is None:
        return CodeValidation(True)
    if coding.version and code_system.version and coding.version != code_system.version:
        text = Message(
            "version {version} of {url} is unavailable (available: {code_system_version})",
            version=coding.version,
            url=code_system.url,
            code_system_version=code_system.version,
        )
        return CodeValidation(False, text)
    display = display_in(concept.display, concept.designation, options.language)
    if options.abstract is False and code_system.is_abstract(concept):
        text = Message("{label} is abstract: it groups other codes and cannot be used itself", label=_label(coding))
        return CodeValidation(False, text, display)
    if code.display is None:
        return CodeValidation(True, None, display)
    known = [concept.display, *(d.value for d in concept.designation)]
    if not any(known) or same_display(code.display, known):
        return CodeValidation(True, None, display)
    valid = ", ".join(repr(text) for text in dict.fromkeys(known) if text)
    text = Message(
        "the display {display} of {label} is wrong. Valid displays: {valid}",
        display=repr(code.display),
        label=_label(coding),
        valid=valid,
    )
    return CodeValidation(False, text, display)


def _combined(failures: Iterable[CodeValidation], otherwise: str) -> CodeValidation:
    found = list(failures)
    if not found:
        return CodeValidation(False, otherwise)
    message = series(dict.fromkeys(f.message for f in found if f.message))
    return CodeValidation(False, message, next((f.display for f in found if f.display), None))


def _label(coding: Coding) -> str:
    return (
        Message("the code {code}", code=repr(coding.code))
        if not coding.system
        else Message("the code {system}|{code}", system=coding.system, code=coding.code)
    )


def _labels(codes: Sequence[CodeToValidate]) -> str:
    return ", ".join(_label(one.coding) for one in codes) or Message("no code")
