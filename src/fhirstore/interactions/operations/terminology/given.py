"""What the operations on terminology have in common: their parameters, and refusals that say what is not at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from fhirstore.errors import FhirError, Issue, error
from fhirstore.formats.compose import instant
from fhirstore.interactions.context import Server
from fhirstore.interactions.terms import read
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.terminology.check import Asked
from fhirstore.terminology.members import Members
from fhirstore.terminology.model import Coded, Resource, Unresolved
from fhirstore.terminology.versions import ANY, Versions
from fhirstore.terminology.view import View

Run = Callable[[Server, OperationRequest], Mapping[str, Any]]


def told(not_found: int) -> Callable[[Run], Run]:
    """Makes what an operation cannot tell a refusal with the code of the reason. not_found: the status where something
    is not at hand: 404 where that is what the request names, 422 where it is further away; 422 in all other cases."""

    def decorate(run: Run) -> Run:
        @wraps(run)
        def wrapped(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
            try:
                return run(ctx, call)
            except Unresolved as e:
                if e.code == "invalid" and (faults := _faults(ctx, call)):
                    raise FhirError(422, faults) from e
                raise refused(e, not_found if e.code == "not-found" else 422) from e

        return wrapped

    return decorate


def _faults(ctx: Server, call: OperationRequest) -> tuple[Issue, ...]:
    """What is wrong with the resource that the request gives, if it gives one: that is why it cannot be read. One that
    can be read need not be sound."""
    given = (call.one(name) for name in ("valueSet", "codeSystem", "conceptMap"))
    return tuple(i for r in given if r is not None for i in ctx.conformance.structure.validate(r) if i.is_error)


def refused(reason: Unresolved, status: int) -> FhirError:
    text = reason.text[0].upper() + reason.text[1:]
    return error(status, reason.code, text + "." * (not text.endswith(".")))


def instance(ctx: Server, call: OperationRequest) -> Resource:
    """The stored resource that the URL names. Raises 404 and 410."""
    assert call.type is not None
    assert call.id is not None
    stored = ctx.store.read(call.type, call.id)
    if stored is None or stored.deleted:
        if stored is not None:
            raise error(410, "deleted", f"{call.type}/{call.id} was deleted.")
        raise error(404, "not-found", f"{call.type}/{call.id} does not exist.")
    return read(stored)


def members_of(ctx: Server, view: View, call: OperationRequest, versions: Versions = ANY) -> Members:
    """The value set that an operation is about, compiled: that of a binding (context), else see `named`."""
    url = call.one("url")
    context = call.one("context")
    if context is not None:
        if url is not None or call.one("valueSet") is not None or call.id is not None:
            raise error(400, "invalid", "Either context or the value set itself is given, not both.", "http.context")
        members = view.members(bound(ctx, context))
        return view.compile(members.resource, versions) if versions and members.resource is not None else members
    if call.id is None and call.one("valueSet") is None and url is not None and not versions:
        members = view.members(versioned(url, call.one("valueSetVersion")))
        if members.is_elsewhere or members.resource is not None:
            return members
    return view.compile(named(ctx, view, call, "ValueSet", "valueSet", "url", "valueSetVersion"), versions)


def bound(ctx: Server, context: str) -> str:
    """The value set to which "[url of a StructureDefinition]#[path of an element]" is bound. Raises 400 and 404."""
    url, _, path = context.partition("#")
    profiles = ctx.conformance.profiles()
    if not path:
        text = "context is the url of a StructureDefinition, # and the path of an element: http://…/Patient#Patient.gender."
        raise error(400, "value", text, "http.context")
    if not profiles.knows(url):
        raise error(404, "not-found", f"The StructureDefinition {url} is not at hand here.", "http.context")
    elements = profiles.snapshot(url).elements.values()
    element = next((e for e in elements if path in (e.get("id"), e.get("path"))), None)
    if element is None:
        raise error(404, "not-found", f"{url} has no element {path[:200]}.", "http.context")
    value_set = element.get("binding", {}).get("valueSet")
    if value_set is None:
        raise error(404, "not-found", f"{path} of {url} is bound to no value set.", "http.context")
    return str(value_set)


def named(
    ctx: Server, view: View, call: OperationRequest, type: str, inline: str, url: str, version: str | None
) -> Resource:
    """The resource that an operation is about: the instance, one that is given in the parameter `inline`, or the one of
    the parameter `url` ("url" or "url|version"). Raises 400 when none is named, 404 when it is not at hand."""
    if call.id is not None:
        return instance(ctx, call)
    given = call.one(inline)
    if given is not None:
        resource: Resource = given
        return resource
    canonical = call.one(url)
    if canonical is None:
        raise missing(f"{url} or {inline}", f"${call.operation} is asked for on {call.type} as a whole")
    found = view.find(type, versioned(canonical, call.one(version) if version else None))
    if found is None:
        text = f"The {type} {versioned(canonical, call.one(version) if version else None)} is not at hand here."
        raise error(404, "not-found", text, f"http.{url}")
    return found.load()


def versioned(url: str, version: str | None) -> str:
    return f"{url}|{version}" if version and "|" not in url else url


def missing(name: str, why: str) -> FhirError:
    return error(400, "required", f"{why}, so the parameter {name} is wanted.", "Parameters")


def asked(call: OperationRequest, system: str | None, version: str | None) -> list[Asked]:
    """The codes of the parameters code, coding and codeableConcept. system, version: names of the parameters that go
    with code, None = there is none. Raises 400 where none is given, or several."""
    given = [name for name in ("code", "coding", "codeableConcept") if call.one(name) is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none of them"
        text = f"One of code, coding and codeableConcept is wanted; given: {told}."
        raise error(400, "invalid" if given else "required", text, "Parameters")
    value = call.one(given[0])
    if given[0] == "code":
        coded = Coded(call.one(system) if system else None, value, call.one(version) if version else None)
        return [Asked(coded, call.one("display"))]
    codings = [value] if given[0] == "coding" else value.get("coding", [])
    found = [coding_asked(c) for c in codings if "code" in c]
    if not found:
        raise error(400, "required", f"{given[0]} has no code to look at.", "Parameters")
    return found


def coding_asked(coding: Mapping[str, Any]) -> Asked:
    """A Coding; without a system it is of none."""
    return Asked(Coded(coding.get("system", ""), coding["code"], coding.get("version")), coding.get("display"))


def check_date(call: OperationRequest) -> None:
    """Raises 422 for a date in the past: how things were then is not kept in a form that can be asked for."""
    date = call.one("date")
    today = instant(time.time_ns() // 1000)[:10]
    if date is not None and str(date)[:10] < today[: len(str(date)[:10])]:
        text = f"The terminology of {date} cannot be asked for, only that of now; leave date out."
        raise error(422, "not-supported", text, "http.date")
