"""https://hl7.org/fhir/R4/conceptmap-operation-translate.html"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.terminology.given import asked, missing, named, told
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.terminology.model import Coded, Resource
from fhirstore.terminology.translate import Question, fitting_maps
from fhirstore.terminology.translate import translate as translate_codes
from fhirstore.terminology.view import View


@told(422)
def translate(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """What a code is in another code system, by the concept maps at hand."""
    codes = asked(call, "system", "version")
    if any(not one.coded.system for one in codes):
        raise missing("system", "A code alone does not say of which code system it is")
    question = Question(
        asked=[one.coded for one in codes],
        source=call.one("source"),
        target=call.one("target"),
        target_system=call.one("targetsystem"),
        dependencies=[pair for given in call.many("dependency") for pair in _dependency(given)],
        reverse=call.one("reverse") is True,
    )
    view = ctx.terminology.current()
    return translate_codes(view, _maps(ctx, view, call, question), question)


def _maps(ctx: Server, view: View, call: OperationRequest, question: Question) -> Iterable[Resource]:
    if call.id is not None or call.one("conceptMap") is not None or call.one("url") is not None:
        return [named(ctx, view, call, "ConceptMap", "conceptMap", "url", "conceptMapVersion")]
    if not (question.source or question.target or question.target_system):
        text = "Which concept map is wanted? Give url, conceptMap, source, target or targetsystem."
        raise error(400, "required", text, "Parameters")
    return fitting_maps(view, question)


def _dependency(given: Mapping[str, Any]) -> list[tuple[str, Coded]]:
    element, concept = given.get("element", [None])[0], given.get("concept", [{}])[0]
    codings = [c for c in concept.get("coding", ()) if "code" in c]
    found = [(element, Coded(c.get("system"), c["code"])) for c in codings]
    if "text" in concept:
        found.append((element, Coded(None, concept["text"])))
    return found
