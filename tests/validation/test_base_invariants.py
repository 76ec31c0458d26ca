"""The invariants of R4: those compiled agree with the library fhirpathpy, those by hand tell the exact place."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.engine.nodes import ResourceNode
from fhirpathpy.models import models
from generate import Generator
from invariant_examples import EXAMPLES, Example, around

from fhirstore.definitions.core import Definitions, load
from fhirstore.definitions.model import Invariant
from fhirstore.errors import Issue
from fhirstore.fhirpath.compiler import compile_native_predicate
from fhirstore.fhirpath.evaluation import Environment
from fhirstore.fhirpath.parser import parse
from fhirstore.fhirpath.predicates import is_violated
from fhirstore.fhirpath.services import NoServices
from fhirstore.validation.base_invariants import CHECKED_ELSEWHERE, NOT_APPLICABLE, expression_of, make_invariants
from fhirstore.validation.value_checks import StructureScope

Faults = Callable[[Any], list[tuple[str, str, str]]]
Validate = Callable[[Any], list[Issue]]
IN_PYTHON = {"bdl-7", "dom-3", "txt-1", "txt-2"}

# Invariants for which the library is wrong, or another reading of the specification is as good.
# The examples show our reading.
DIFFERENT = {
    ("Appointment", "app-4"): "true implies nothing is nothing by the specification, and true there",
    ("Period", "per-1"): "the library drops the time if the other side is a date",
    ("MedicationDispense", "mdd-1"): "the library drops the time if the other side is a date",
    ("Questionnaire.item.enableWhen", "que-7"): "the library takes no boolean of FHIR for a Boolean of FHIRPath",
    ("Range", "rng-2"): "the library compares quantities of different units as numbers",
    ("Task", "inv-1"): "the library drops the time if the other side is a date",
}


assert DIFFERENT.keys() <= EXAMPLES.keys()


@cache
def stated() -> dict[tuple[str, str], Invariant]:
    """All invariants of R4 by the node that states them and their key."""
    core = load()
    todo, seen = [*core.resource_types], set()
    found: dict[tuple[str, str], Invariant] = {}
    while todo:
        path = todo.pop()
        node = core.node(path)
        if path in seen or node is None:
            continue
        seen.add(path)
        base = core.node(node.base) if node.base else None
        inherited = {i.key for i in base.invariants} if base else set()
        found |= {(path, i.key): i for i in node.invariants if i.key not in inherited}
        todo += [e.node for e in node.elements.values() if e.node]
        todo += [t.code for e in node.elements.values() for t in e.types]
        todo += [node.base] if node.base else []
    return found


COMPILED = sorted(k for k in stated() if k[1] not in IN_PYTHON | CHECKED_ELSEWHERE | NOT_APPLICABLE)


def test_r4_has_195_distinct_expressions_and_some_by_two_spellings() -> None:
    assert len({i.expression for i in stated().values()}) >= 195


@cache
def resources(resource_type: str) -> tuple[dict[str, Any], ...]:
    return tuple(plain(Generator(load(), seed).maximal(resource_type, depth=3)) for seed in range(2))


def plain(value: Any) -> Any:
    """Without ids and extensions of primitives, which the library takes for parts of their values."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if not k.startswith("_")}
    return [plain(v) for v in value if v is not None] if isinstance(value, list) else value


def objects(path: str, core: Definitions) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(object of the type or backbone, resource around it): some sound, some with elements left out."""
    resource_type = path.partition(".")[0]
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    if resource_type in core.resource_types:
        for resource in resources(resource_type):
            if path == resource_type:
                found.append((resource, resource))
            for place in Generator(core).places(resource):
                if place.element.node == path:
                    value = place.parent[place.key]
                    found += [(one, resource) for one in (value if isinstance(value, list) else [value])]
    else:
        made = [plain(Generator(core, seed)._object(path, depth=2)) for seed in range(3)]
        found = [(value, value) for value in made]
    return [(variant, resource) for value, resource in found[:3] for variant in variants(value)[:25]]


def variants(value: dict[str, Any]) -> list[dict[str, Any]]:
    """The object, and the object without each of its properties."""
    keys = [k for k in value if k != "resourceType" and not k.startswith("_")]
    return [value, *({k: v for k, v in value.items() if k.removeprefix("_") != key} for key in keys)]


def by_library(expression: str, path: str, value: dict[str, Any], resource: dict[str, Any]) -> bool | None:
    start, around = ResourceNode.create_node(value, path), ResourceNode.create_node(resource)
    environment = {"context": start, "resource": around, "rootResource": around}
    functions = {"resolve": {"fn": lambda values: [], "arity": {0: []}}, "hasValue": {
        "fn": lambda values: [len(values) == 1 and type(values[0]) is not dict], "arity": {0: []}}}  # fmt: skip
    options = {"returnRawData": True, "traceFn": lambda v, n: None, "userInvocationTable": functions}
    tree = parsed(expression)
    found = fhirpathpy.apply_parsed_path(start, tree, environment, models["r4"], options)
    plain = [v.data if isinstance(v, ResourceNode) else v for v in found]
    return None if not plain else all(v is not False for v in plain)


@cache
def parsed(expression: str) -> Any:
    return fhirpathpy.parser.parse(expression.replace("$this.descendants()", "%context.descendants()"))


def by_hand(path: str, key: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    example = EXAMPLES.get((path, key), Example((), ()))
    return [(value, around(path, value)) for value in (*example.sound, *example.faulty)]


@pytest.mark.parametrize(("path", "key"), sorted(set(COMPILED) - DIFFERENT.keys()), ids=lambda part: part)
def test_a_compiled_invariant_says_what_the_library_says(path: str, key: str, core: Definitions) -> None:
    invariant = stated()[path, key]
    native = compile_native_predicate(core, parse(invariant.expression), path)
    compared = 0
    for value, resource in [*objects(path, core), *by_hand(path, key)]:
        try:
            wanted = by_library(invariant.expression, path, value, resource)
        except Exception:
            continue
        try:
            given = native(value, Environment(value, resource, resource, NoServices()))
        except ValueError:
            continue
        compared += 1
        assert given is wanted, (invariant.expression, value)
    assert compared


@pytest.mark.parametrize(("path", "key"), sorted(EXAMPLES), ids=lambda part: part)
def test_a_compiled_invariant_distinguishes_valid_from_invalid(path: str, key: str, core: Definitions) -> None:
    predicate = compile_native_predicate(core, parse(expression_of(stated()[path, key], path)), path)

    def holds(value: dict[str, Any]) -> bool:
        resource = around(path, value)
        return not is_violated(predicate, value, Environment(value, resource, resource, NoServices()))

    assert [holds(value) for value in EXAMPLES[path, key].sound] == [True] * len(EXAMPLES[path, key].sound)
    assert [holds(value) for value in EXAMPLES[path, key].faulty] == [False] * len(EXAMPLES[path, key].faulty)


def test_a_prediction_without_a_probability_is_accepted(validate: Validate) -> None:
    prediction = {"outcome": {"text": "Heart attack"}, "qualitativeRisk": {"text": "high"}}
    risk = {"resourceType": "RiskAssessment", "status": "final", "subject": {"reference": "Patient/1"}}
    assert [i for i in validate(risk | {"prediction": [prediction]}) if i.is_error] == []
    (issue,) = validate(risk | {"prediction": [{"probabilityDecimal": 101}]})
    assert (issue.rule, issue.expression) == ("ras-2", ("RiskAssessment.prediction[0]",))


def test_a_document_without_a_composition_is_refused(faults: Faults) -> None:
    bundle = {"resourceType": "Bundle", "type": "document", "timestamp": "2024-01-01T00:00:00Z"}
    found = faults(bundle | {"identifier": {"system": "http://s", "value": "1"}})
    assert [text.partition(":")[0] for _, _, text in found] == ["Bundle"]
    assert "bdl-11" in found[0][2]


def test_all_invariants_of_r4_are_checked(core: Definitions) -> None:
    for path, key in stated():
        node = core.node(path)
        assert node is not None
        if key not in CHECKED_ELSEWHERE | NOT_APPLICABLE:
            assert make_invariants(core, node) is not None


def test_no_invariant_of_r4_needs_the_interpreter(core: Definitions) -> None:
    for path, key in COMPILED:
        assert compile_native_predicate(core, parse(stated()[path, key].expression), path)


# --- by hand ------------------------------------------------------------------------------------------


def narrative(div: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "code": {"text": "c"}, "text": {"status": "generated", "div": div}}


def div(inside: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{inside}</div>'


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("<script>alert(1)</script>", "<script> is not allowed"),
        ("<p onclick='x()'>a</p>", "the attribute onclick of <p>"),
        ("<a href='javascript:x()'>a</a>", "href of <a> would run code"),
        ("<a href=' JavaScript :x()'>a</a>", "href of <a> would run code"),
        ("<a href='java&#9;script&#10;:x()'>a</a>", "href of <a> would run code"),
        ("<p xml:base='vbscript:'>a</p>", "xml:base of <p> would run code"),
        ("<a href='data:text/html,x'>a</a>", "href of <a> contains data"),
        ("<a href='data:image/png;base64,AAAA'>a</a>", "href of <a> contains data"),
        ("<a href='&#1;da&#13;ta:,x'>a</a>", "not well-formed"),
        ("<a href='da&#13;ta:,x'>a</a>", "href of <a> contains data"),
        ("<blockquote cite='DATA:,x'>a</blockquote>", "cite of <blockquote> contains data"),
        ("<img src='data:text/html,x' alt=''/>", "src of <img> contains data"),
        ("<img longdesc='data:image/png,x' alt=''/>", "longdesc of <img> contains data"),
        ("<form><input/></form>", "<form> is not allowed"),
        ("<iframe src='x'/>a", "<iframe> is not allowed"),
        ("<p>a", "not well-formed XHTML"),
        ("&nothing;", "&nothing; is not defined in XML"),
        ("é<b>a &eacute", "not well-formed XHTML"),
        ("  \n ", "neither text nor an image"),
        ("", "neither text nor an image"),
    ],
)
def test_a_narrative_is_formatting_and_nothing_else(inside: str, expected: str, faults: Faults) -> None:
    (found,) = {(c, e): d for c, e, d in faults(narrative(div(inside)))}.items()
    assert found[0] == ("invariant", "Basic.text.div")
    assert any(expected in d for _, _, d in faults(narrative(div(inside))))


@pytest.mark.parametrize(
    "inside",
    [
        "Anne\u00a0Martin &amp; co &#160; &#xA0; &lt; &gt; &quot; &apos;",
        "<table class='x'><tr><td colspan='2' style='color:red'>a</td></tr></table>",
        "<p xml:lang='fr' lang='fr' title='t'><b>a</b><br/><a name='n' href='#x'>a</a></p>",
        "<img src='data:image/png;base64,AAAA' alt=''/>",
        "<!-- &nbsp; --><p>a</p>",
    ],
)
def test_a_formatted_narrative_is_accepted(inside: str, validate: Validate) -> None:
    assert validate(narrative(div(inside))) == []


@pytest.mark.parametrize("entity", ["nbsp", "reg", "eacute", "Eacute", "frac12", "unheard"])
@pytest.mark.parametrize("form", ["<p>&{};</p>", '<p title="&{};">a</p>'])
def test_an_entity_of_html_is_refused(entity: str, form: str, faults: Faults) -> None:
    (found,) = faults(narrative(div(form.format(entity))))

    assert found[:2] == ("invariant", "Basic.text.div")
    assert f"&{entity};" in found[2]


@pytest.mark.parametrize("start", ["<div>", '<div xmlns="http://example.org">', "<div lang='fr'>", "<div xmlns=''>"])
def test_a_narrative_without_the_namespace_of_xhtml_is_refused(start: str, faults: Faults) -> None:
    (found,) = faults(narrative(f"{start}<p>text</p></div>"))

    assert found[:2] == ("invariant", "Basic.text.div")
    assert "http://www.w3.org/1999/xhtml" in found[2]


def test_a_doctype_is_refused_before_anything_is_expanded(faults: Faults) -> None:
    bomb = '<!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><div>&b;</div>'
    assert faults(narrative(bomb))
    assert all(e == "Basic.text.div" for _, e, _ in faults(narrative(bomb)))


def person(id: str, *links: str, **more: Any) -> dict[str, Any]:
    linked = [{"other": {"reference": link}, "type": "seealso"} for link in links]
    return {"resourceType": "Patient", "id": id} | ({"link": linked} if linked else {}) | more


@pytest.mark.parametrize(
    ("resource", "places"),
    [
        (person("r", "#a", contained=[person("a", "#b"), person("b")]), []),
        (person("r", contained=[person("a", "#"), person("b")]), [1]),
        (person("r", contained=[person("a", "#", "#b"), person("b")]), []),
        (person("r", contained=[person("a")]), [0]),
        (person("r", contained=[person("a", "#b"), person("b", "#a")]), [0, 1]),
        (person("r", contained=[person("a", "#a")]), [0]),
    ],
)
def test_a_contained_resource_belongs_to_the_one_around_it(
    resource: dict[str, Any], places: list[int], faults: Faults
) -> None:
    assert [e for _, e, _ in faults(resource)] == [f"Patient.contained[{n}]" for n in places]


def test_an_invariant_names_its_key_text_expression_and_type(faults: Faults) -> None:
    (found,) = faults({"resourceType": "Patient", "contact": [{"gender": "male"}]})
    assert found[:2] == ("invariant", "Patient.contact[0]")
    assert "pat-1: " in found[2]
    assert found[2].endswith("[constraint pat-1 of Patient.contact]")


def test_what_is_recommended_is_a_warning(validate: Validate) -> None:
    found = validate({"resourceType": "ValueSet", "status": "draft", "name": "no name for a program"})
    assert [(i.severity, i.code) for i in found] == [("warning", "invariant")]
    assert validate({"resourceType": "ValueSet", "status": "draft"}) == []


def test_an_invariant_is_not_asked_of_a_faulty_object(core: Definitions) -> None:
    check = make_invariants(core, core.node("Period"))  # type: ignore[arg-type]
    assert check is not None
    found = check({"start": "2024-02", "end": "2024-01"}, StructureScope({}, in_transaction=False))
    assert found is not None
    assert check({"start": "2024-01-15", "end": "2025"}, StructureScope({}, in_transaction=False)) is None
