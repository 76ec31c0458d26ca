"""https://hl7.org/fhir/R4/valueset-operation-validate-code.html and
https://hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.terminology.given import asked, check_date, instance, members_of, told
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.terminology.check import Asked, Checked, Rules, check_by_grammar, check_in_set, check_in_system
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.model import Coded, Unresolved


@told(422)
def validate_in_set(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """Whether a code is in a value set."""
    check_date(call)
    view = ctx.terminology.current()
    codes = asked(call, "system", "systemVersion")
    return check_in_set(view, members_of(ctx, view, call), codes, _rules(call)).to_json()


@told(404)
def validate_in_system(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """Whether a code is one of a code system."""
    check_date(call)
    view = ctx.terminology.current()
    codes = asked(call, None, None)
    given = instance(ctx, call) if call.id is not None else call.one("codeSystem")
    if given is not None:
        return check_in_system(view.read_system(given), codes, _rules(call)).to_json()
    url = call.one("url") or codes[0].coded.system
    if not url:
        text = "The parameter url is wanted: the code system in which the code is looked for."
        raise error(400, "required", text, "Parameters")
    try:
        return check_in_system(view.known_system(url, call.one("version")), codes, _rules(call)).to_json()
    except Unresolved as reason:
        if url in GRAMMARS:
            return check_by_grammar(url, codes).to_json()
        return _elsewhere(ctx, url, call.one("version"), codes, reason).to_json()


def _elsewhere(ctx: Server, url: str, version: str | None, codes: list[Asked], reason: Unresolved) -> Checked:
    """What another server says, where there is one. Raises Unresolved."""
    if ctx.terminology.remote is None:
        raise reason
    ours = [one.coded for one in codes if one.coded.system in (None, url)]
    if any(ctx.terminology.remote.is_code(Coded(url, c.code, c.version or version)) for c in ours):
        return Checked(True)
    shown = ", ".join(repr(one.coded.code) for one in codes)
    return Checked(False, f"the code system {url} has no code {shown}, says {ctx.terminology.remote.base}")


def _rules(call: OperationRequest) -> Rules:
    return Rules(call.one("abstract"), call.one("displayLanguage"))
