"""https://hl7.org/fhir/R4/codesystem-operation-lookup.html and
https://hl7.org/fhir/R4/codesystem-operation-subsumes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.terminology.given import check_date, instance, missing, told
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.terminology.lookup import look_up, subsumption
from fhirstore.terminology.model import Coded, Unresolved


@told(404)
def lookup(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """What is known of a code."""
    check_date(call)
    asked = _one(call, "code", "coding", "version")
    if not asked.system:
        raise missing("system", "A code alone does not say of which code system it is")
    view = ctx.terminology.current()
    try:
        system = view.known_system(asked.system, asked.version)
    except Unresolved:
        if ctx.terminology.remote is None:
            raise
        return ctx.terminology.remote.look_up(_forwarded(call, asked))
    definitions = view.definitions(system)
    return look_up(system, asked.code, call.many("property"), call.one("displayLanguage"), definitions)


@told(404)
def subsumes(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """How two codes of one code system are related."""
    a, b = _one(call, "codeA", "codingA", "version"), _one(call, "codeB", "codingB", "version")
    view = ctx.terminology.current()
    if call.id is not None:
        system = view.read_system(instance(ctx, call))
        foreign = next((c for c in (a, b) if c.system not in (None, "", system.url)), None)
    else:
        url = a.system or b.system
        if not url:
            raise missing("system", "Codes alone do not say of which code system they are")
        system = view.known_system(url, a.version or b.version)
        foreign = next((c for c in (a, b) if c.system not in (None, "", url)), None)
    if foreign is not None:
        text = f"{foreign.system}|{foreign.code} is not of {system.url}; both codes must be of one code system."
        raise error(400, "invalid", text, "Parameters")
    return {"outcome": subsumption(system, a.code, b.code)}


def _forwarded(call: OperationRequest, asked: Coded) -> list[Mapping[str, Any]]:
    """The parameters for another server."""
    given = [("system", "valueUri", asked.system), ("code", "valueCode", asked.code)]
    given += [("version", "valueString", asked.version), ("displayLanguage", "valueCode", call.one("displayLanguage"))]
    given += [("property", "valueCode", name) for name in call.many("property")]
    return [{"name": name, kind: value} for name, kind, value in given if value is not None]


def _one(call: OperationRequest, code: str, coding: str, version: str) -> Coded:
    """The code of the parameters `code` (with system and version) or `coding`. Raises 400 unless one is given."""
    plain, full = call.one(code), call.one(coding)
    if (plain is None) == (full is None):
        told = "both are given" if plain is not None else "neither is given"
        raise error(400, "required" if plain is None else "invalid", f"{code} or {coding} is wanted; {told}.")
    if plain is not None:
        return Coded(call.one("system"), plain, call.one(version))
    if "code" not in full:
        raise error(400, "required", f"{coding} has no code.", "Parameters")
    return Coded(full.get("system"), full["code"], full.get("version"))
