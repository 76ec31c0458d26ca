"""What the terminology operations share: their in parameters, and the responses for unresolved questions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from fhirstore.errors import FhirError, Issue, error
from fhirstore.formats.json import instant
from fhirstore.interactions.server import Server
from fhirstore.interactions.stored_definitions import parse_stored
from fhirstore.model.messages import Message, conjunction
from fhirstore.plugins.model import OperationRequest
from fhirstore.terminology.model import Coding, Resource, Unresolved
from fhirstore.terminology.service import TerminologySnapshot
from fhirstore.terminology.system_versions import ANY_VERSION, SystemVersions
from fhirstore.terminology.validate_code import CodeToValidate
from fhirstore.terminology.value_sets import ValueSet

Run = Callable[[Server, OperationRequest], Mapping[str, Any]]


def unresolved_as_error(not_found: int) -> Callable[[Run], Run]:
    """Decorates an operation: `Unresolved` becomes an error response with the code of the reason.

    not_found: the status if a resource is unavailable. It is 404 if the request names that resource, else 422. The
    status of all other reasons is 422."""

    def decorate(run: Run) -> Run:
        @wraps(run)
        def wrapped(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
            try:
                return run(server, operation)
            except Unresolved as e:
                if e.code == "invalid" and (issues := _resource_issues(server, operation)):
                    raise FhirError(422, issues) from e
                raise _as_error(e, not_found if e.code == "not-found" else 422) from e

        return wrapped

    return decorate


def _resource_issues(server: Server, operation: OperationRequest) -> tuple[Issue, ...]:
    """The errors in the resource of the operation, if it has one: they explain best why it is invalid."""
    resources = (operation.one(name) for name in ("valueSet", "codeSystem", "conceptMap"))
    return tuple(i for r in resources if r is not None for i in server.validator.structure.validate(r) if i.is_error)


def _as_error(reason: Unresolved, status: int) -> FhirError:
    text = reason.text
    return error(status, reason.code, text.as_sentence() if isinstance(text, Message) else text)


def stored_instance(server: Server, operation: OperationRequest) -> Resource:
    """The stored resource that the URL names. Raises 404 and 410."""
    assert operation.type is not None
    assert operation.id is not None
    stored = server.store.read(operation.type, operation.id)
    if stored is None or stored.deleted:
        if stored is not None:
            raise error(410, "deleted", Message("{type}/{id} was deleted.", type=operation.type, id=operation.id))
        raise error(404, "not-found", Message("{type}/{id} does not exist.", type=operation.type, id=operation.id))
    return parse_stored(stored)


def requested_value_set(
    server: Server, snapshot: TerminologySnapshot, operation: OperationRequest, versions: SystemVersions = ANY_VERSION
) -> ValueSet:
    """The compiled value set of the request: that of a binding (parameter context), else see `named_resource`."""
    url = operation.one("url")
    context = operation.one("context")
    if context is not None:
        if url is not None or operation.one("valueSet") is not None or operation.id is not None:
            text = Message("context cannot be combined with another parameter that identifies the value set.")
            raise error(400, "invalid", text, "http.context")
        value_set = snapshot.value_set(_bound_value_set(server, context))
        has_resource = versions and value_set.resource is not None
        return snapshot.compile_value_set(value_set.resource or {}, versions) if has_resource else value_set
    if operation.id is None and operation.one("valueSet") is None and url is not None and not versions:
        value_set = snapshot.value_set(_versioned(url, operation.one("valueSetVersion")))
        if value_set.is_remote or value_set.resource is not None:
            return value_set
    resource = named_resource(server, snapshot, operation, "ValueSet", "valueSet", "url", "valueSetVersion")
    return snapshot.compile_value_set(resource, versions)


def _bound_value_set(server: Server, context: str) -> str:
    """The canonical of the value set to which an element is bound. Raises 400 and 404.

    context: "[url of a StructureDefinition]#[path of an element]"."""
    url, _, path = context.partition("#")
    profiles = server.validator.profiles()
    if not path:
        text = Message(
            "context must be the url of a StructureDefinition, # and the path of an element, for "
            "example http://hl7.org/fhir/StructureDefinition/Patient#Patient.gender."
        )
        raise error(400, "value", text, "http.context")
    if not profiles.knows(url):
        raise error(404, "not-found", Message("The StructureDefinition {url} is unavailable.", url=url), "http.context")
    elements = profiles.snapshot(url).elements.values()
    element = next((e for e in elements if path in (e.get("id"), e.get("path"))), None)
    if element is None:
        raise error(404, "not-found", Message("{url} has no element {path}.", url=url, path=path[:200]), "http.context")
    value_set = element.get("binding", {}).get("valueSet")
    if value_set is None:
        raise error(
            404,
            "not-found",
            Message("{path} of {url} has no binding to a value set.", path=path, url=url),
            "http.context",
        )
    return str(value_set)


def named_resource(
    server: Server,
    snapshot: TerminologySnapshot,
    operation: OperationRequest,
    type: str,
    inline: str,
    url: str,
    version: str | None,
) -> Resource:
    """The resource of the request: the instance, the one in the parameter `inline`, or the one of the parameter `url`.

    version: name of the parameter with the version, None = no such parameter. Raises 400 if the request names none of
    them and 404 if the resource is unavailable."""
    if operation.id is not None:
        return stored_instance(server, operation)
    resource: Resource | None = operation.one(inline)
    if resource is not None:
        return resource
    canonical = operation.one(url)
    if canonical is None:
        raise missing_parameter(url, inline)
    canonical = _versioned(canonical, operation.one(version) if version else None)
    found = snapshot.find(type, canonical)
    if found is None:
        raise error(
            404,
            "not-found",
            Message("The {type} {canonical} is unavailable.", type=type, canonical=canonical),
            f"http.{url}",
        )
    return found.load()


def _versioned(url: str, version: str | None) -> str:
    return f"{url}|{version}" if version and "|" not in url else url


def missing_parameter(*names: str) -> FhirError:
    """The error if none of these parameters is present."""
    text = Message("The parameter {names} is required.", names=names[0])
    if len(names) > 1:
        text = Message("One of the parameters {names} is required.", names=", ".join(names))
    return error(400, "required", text, "Parameters")


def codes_to_validate(operation: OperationRequest, system: str | None, version: str | None) -> list[CodeToValidate]:
    """The codes of the parameters code, coding and codeableConcept.

    system, version: names of the parameters that complete code, None = no such parameter. Raises 400 unless exactly one
    of code, coding and codeableConcept is present."""
    present = [name for name in ("code", "coding", "codeableConcept") if operation.one(name) is not None]
    if len(present) != 1:
        found = conjunction(present) or Message("none of them")
        text = Message("Exactly one of code, coding and codeableConcept is required; found: {found}.", found=found)
        raise error(400, "invalid" if present else "required", text, "Parameters")
    value = operation.one(present[0])
    if present[0] == "code":
        url = operation.one(system) if system else None
        coding = Coding(url, value, operation.one(version) if version else None)
        return [CodeToValidate(coding, operation.one("display"))]
    codings = [value] if present[0] == "coding" else value.get("coding", [])
    found_codes = [_from_coding(c) for c in codings if "code" in c]
    if not found_codes:
        raise error(400, "required", Message("{coding} has no code.", coding=present[0]), "Parameters")
    return found_codes


def _from_coding(coding: Mapping[str, Any]) -> CodeToValidate:
    """A Coding without a system means a code without a system."""
    made = Coding(coding.get("system", ""), coding["code"], coding.get("version"))
    return CodeToValidate(made, coding.get("display"))


def refuse_past_date(operation: OperationRequest) -> None:
    """Raises 422 for a date in the past: the server evaluates terminology as it is now."""
    date = operation.one("date")
    today = instant(time.time_ns() // 1000)[:10]
    if date is not None and str(date)[:10] < today[: len(str(date)[:10])]:
        text = Message(
            "The terminology of {date} is unavailable: only the current one is. Omit the parameter date.", date=date
        )
        raise error(422, "not-supported", text, "http.date")
