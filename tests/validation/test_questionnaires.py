"""https://hl7.org/fhir/R4/questionnaireresponse.html: responses against their questionnaires."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from profiling import catalog, code_system, value_set

from fhirstore.validation.validator import ResourceValidator

Json = dict[str, Any]
URL = "http://example.org/Questionnaire/q"
CODES, COLOURS = "http://codes", "http://example.org/ValueSet/colours"
RED, BLUE = {"system": CODES, "code": "red"}, {"system": CODES, "code": "blue"}
ONLY_RED = {"system": CODES, "concept": [{"code": "red"}]}
EXTENSION = "http://hl7.org/fhir/StructureDefinition/"


def question(link: str, kind: str = "string", *items: Json, **more: Any) -> Json:
    return {"linkId": link, "type": kind, **({"item": list(items)} if items else {}), **more}


def group(link: str, *items: Json, **more: Any) -> Json:
    return question(link, "group", *items, **more)


def limited(name: str, **value: Any) -> Json:
    return {"extension": [{"url": EXTENSION + name, **value}]}


TWICE = limited("questionnaire-minOccurs", valueInteger=2)


def answer(link: str, *answers: Json, **more: Any) -> Json:
    return {"linkId": link, **({"answer": list(answers)} if answers else {}), **more}


def text(value: str, **more: Any) -> Json:
    return {"valueString": value, **more}


def check(
    questions: list[Json], items: list[Json], status: str = "completed", **more: Any
) -> list[tuple[str, str, str]]:
    """(severity, code, expression below QuestionnaireResponse) of the issues."""
    questionnaire = {"resourceType": "Questionnaire", "url": URL, "status": "active", "item": questions, **more}
    known = [
        questionnaire,
        code_system(CODES, "red", "blue", "green"),
        value_set(COLOURS, {"system": CODES, "concept": [{"code": "red"}]}),
    ]
    validator = ResourceValidator(catalog(known))
    response = {"resourceType": "QuestionnaireResponse", "questionnaire": URL, "status": status}
    response |= {"item": items} if items else {}
    for resource in (questionnaire, response):
        assert [i for i in validator.validate(resource, []) if i.is_error] == []
    found = validator.validate_response(response)
    return [(i.severity, i.code, i.expression[0].removeprefix("QuestionnaireResponse")) for i in found]


def test_a_complete_response_is_accepted() -> None:
    questions = [
        group("1", question("1.1", required=True), question("1.2", "integer", repeats=True)),
        question("2", "display"),
    ]
    items = [
        {"linkId": "1", "item": [answer("1.1", text("a")), answer("1.2", {"valueInteger": 1}, {"valueInteger": 2})]},
        {"linkId": "2"},
    ]

    assert check(questions, items) == []


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([answer("x", text("a"))], ("not-found", ".item[0]")),
        ([answer("1.1", text("a"))], ("not-found", ".item[0]")),
        ([answer("2", text("a")), {"linkId": "1"}], ("structure", ".item[1]")),
        ([answer("2", text("a")), answer("2", text("b"))], ("structure", ".item[1]")),
        ([answer("2", text("a"), text("b"))], ("structure", ".item[0].answer[1]")),
        ([{"linkId": "1", "answer": [text("a")]}], ("structure", ".item[0].answer")),
        ([{"linkId": "1"}, {"linkId": "1"}], ("structure", ".item[1]")),
        ([answer("2", item=[answer("2.1", text("b"))])], ("structure", ".item[0].item")),
        ([answer("2", text("a", item=[answer("x", text("b"))]))], ("not-found", ".item[0].answer[0].item[0]")),
    ],
    ids=["unknown", "elsewhere", "order", "twice", "answers", "group", "groups", "nested", "nested in an answer"],
)
def test_a_response_has_the_structure_of_its_questionnaire(items: list[Json], expected: tuple[str, str]) -> None:
    questions = [group("1", question("1.1")), question("2", "string", question("2.1"))]

    assert check(questions, items) == [("error", *expected)]


def test_items_of_answers_and_repeating_groups_are_accepted() -> None:
    questions = [group("1", question("1.1"), repeats=True), question("2", "string", question("2.1"))]
    items = [{"linkId": "1"}, {"linkId": "1"}, answer("2", text("a", item=[answer("2.1", text("b"))]))]

    assert check(questions, items) == []


@pytest.mark.parametrize("status", ["completed", "amended", "in-progress"])
@pytest.mark.parametrize(
    ("question", "items", "path"),
    [
        (question("1", required=True), [], ""),
        (question("1", required=True), [{"linkId": "1"}], ".item[0]"),
        (group("1", question("1.1", required=True)), [{"linkId": "1"}], ".item[0]"),
        (
            question("1", repeats=True, **limited("questionnaire-minOccurs", valueInteger=2)),
            [answer("1", text("a"))],
            ".item[0]",
        ),
    ],
)
def test_required_items_are_present_once_the_response_is_complete(
    question: Json, items: list[Json], path: str, status: str
) -> None:
    severity = "warning" if status == "in-progress" else "error"

    assert check([question], items, status)[:1] == [(severity, "required", path)]


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("boolean", {"valueBoolean": True}, text("true")),
        ("decimal", {"valueDecimal": Decimal("1.5")}, {"valueInteger": 1}),
        ("integer", {"valueInteger": 1}, {"valueDecimal": 1}),
        ("date", {"valueDate": "2030"}, {"valueDateTime": "2030"}),
        ("dateTime", {"valueDateTime": "2030"}, {"valueDate": "2030"}),
        ("time", {"valueTime": "10:00:00"}, text("10:00:00")),
        ("string", text("a"), {"valueUri": "a"}),
        ("text", text("a"), {"valueCoding": RED}),
        ("url", {"valueUri": "http://a"}, text("http://a")),
        ("choice", {"valueCoding": RED}, text("red")),
        ("open-choice", text("red"), {"valueInteger": 1}),
        ("attachment", {"valueAttachment": {"title": "a"}}, text("a")),
        ("reference", {"valueReference": {"reference": "Patient/1"}}, text("Patient/1")),
        ("quantity", {"valueQuantity": {"value": 1}}, {"valueDecimal": 1}),
    ],
)
def test_an_answer_has_the_type_of_its_question(kind: str, good: Json, bad: Json) -> None:
    assert check([question("1", kind)], [answer("1", good)]) == []
    assert check([question("1", kind)], [answer("1", bad)]) == [("error", "structure", ".item[0].answer[0].value")]


def test_an_answer_is_one_of_the_options() -> None:
    options = {"answerOption": [{"valueCoding": RED}, {"valueCoding": BLUE | {"display": "Blue"}}]}
    green, wrong = {"system": CODES, "code": "green"}, [("error", "code-invalid", ".item[0].answer[0].value")]

    assert check([question("1", "choice", **options)], [answer("1", {"valueCoding": BLUE})]) == []
    assert check([question("1", "choice", **options)], [answer("1", {"valueCoding": green})]) == wrong
    assert check([question("1", "open-choice", **options)], [answer("1", text("green"))]) == []
    numbers = {"answerOption": [{"valueInteger": 1}, {"valueInteger": 2}]}
    assert check([question("1", "choice", **numbers)], [answer("1", {"valueInteger": 2})]) == []
    assert check([question("1", "choice", **numbers)], [answer("1", {"valueInteger": 3})]) == wrong


def test_an_answer_is_in_the_value_set() -> None:
    inside, outside = {"valueCoding": RED}, {"valueCoding": BLUE}
    wrong = [("error", "code-invalid", ".item[0].answer[0].value")]

    named = question("1", "choice", answerValueSet=COLOURS)
    assert check([named], [answer("1", inside)]) == []
    assert check([named], [answer("1", outside)]) == wrong
    contained = value_set("http://example.org/c", {"system": CODES, "concept": [{"code": "red"}]}) | {
        "id": "c",
        "status": "active",
    }
    local = question("1", "choice", answerValueSet="#c")
    assert check([local], [answer("1", inside)], contained=[contained]) == []
    assert check([local], [answer("1", outside)], contained=[contained]) == wrong
    unknown = question("1", "choice", answerValueSet="http://example.org/unheard")
    assert check([unknown], [answer("1", inside)]) == [("warning", "not-supported", ".item[0].answer[0].value")]


@pytest.mark.parametrize(
    ("question", "good", "bad", "code"),
    [
        (question("1", maxLength=3), text("abc"), text("abcd"), "too-long"),
        (question("1", **limited("minLength", valueInteger=2)), text("ab"), text("a"), "value"),
        (
            question("1", "integer", **limited("minValue", valueInteger=2)),
            {"valueInteger": 2},
            {"valueInteger": 1},
            "value",
        ),
        (
            question("1", "date", **limited("maxValue", valueDate="2030-02")),
            {"valueDate": "2030-01-31"},
            {"valueDate": "2030-03"},
            "value",
        ),
        (
            question("1", "decimal", **limited("maxDecimalPlaces", valueInteger=1)),
            {"valueDecimal": Decimal("1.5")},
            {"valueDecimal": Decimal("1.50")},
            "value",
        ),
    ],
)
def test_answers_keep_the_limits(question: Json, good: Json, bad: Json, code: str) -> None:
    assert check([question], [answer("1", good)]) == []
    assert check([question], [answer("1", bad)]) == [("error", code, ".item[0].answer[0].value")]


@pytest.mark.parametrize(
    ("condition", "given", "enabled"),
    [
        ({"operator": "exists", "answerBoolean": True}, [{"valueInteger": 1}], True),
        ({"operator": "exists", "answerBoolean": False}, [{"valueInteger": 1}], False),
        ({"operator": "exists", "answerBoolean": False}, [], True),
        ({"operator": "=", "answerInteger": 1}, [{"valueInteger": 1}], True),
        ({"operator": "=", "answerInteger": 1}, [{"valueInteger": 2}], False),
        ({"operator": "=", "answerInteger": 1}, [], False),
        ({"operator": "!=", "answerInteger": 1}, [{"valueInteger": 2}], True),
        ({"operator": "!=", "answerInteger": 1}, [{"valueInteger": 1}], False),
        ({"operator": ">", "answerInteger": 1}, [{"valueInteger": 2}], True),
        ({"operator": ">", "answerInteger": 2}, [{"valueInteger": 2}], False),
        ({"operator": ">=", "answerInteger": 2}, [{"valueInteger": 2}], True),
        ({"operator": "<", "answerInteger": 2}, [{"valueInteger": 1}], True),
        ({"operator": "<=", "answerInteger": 0}, [{"valueInteger": 1}], False),
    ],
)
def test_an_item_is_enabled_by_other_answers(condition: Json, given: list[Json], enabled: bool) -> None:
    questions = [
        group("g", question("1", "integer")),
        question("2", required=True, enableWhen=[{"question": "1", **condition}]),
    ]
    first = {"linkId": "g", "item": [answer("1", *given)] if given else [{"linkId": "1"}]}

    answered = check(questions, [first, answer("2", text("a"))])
    assert answered == ([] if enabled else [("error", "invalid", ".item[1]")])
    assert check(questions, [first]) == ([("error", "required", "")] if enabled else [])


@pytest.mark.parametrize(("behavior", "enabled"), [("any", True), ("all", False)])
def test_several_conditions_are_combined(behavior: str, enabled: bool) -> None:
    conditions = [{"question": "1", "operator": "=", "answerInteger": n} for n in (1, 2)]
    questions = [question("1", "integer"), question("2", required=True, enableWhen=conditions, enableBehavior=behavior)]

    assert check(questions, [answer("1", {"valueInteger": 1})]) == ([("error", "required", "")] if enabled else [])


def test_a_response_can_contain_its_questionnaire() -> None:
    validator = ResourceValidator(catalog([]))
    contained = {"resourceType": "Questionnaire", "id": "q", "status": "active", "item": [question("1", required=True)]}
    response = {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "contained": [contained],
        "questionnaire": "#q",
    }

    assert [i.code for i in validator.validate_response(response | {"contained": [contained]})] == ["required"]


def test_an_unavailable_questionnaire_gives_a_warning_and_a_missing_name_nothing() -> None:
    validator = ResourceValidator(catalog([]))
    response = {"resourceType": "QuestionnaireResponse", "status": "completed"}

    (issue,) = validator.validate_response(response | {"questionnaire": URL})
    assert (issue.severity, issue.code, issue.expression) == (
        "warning",
        "not-found",
        ("QuestionnaireResponse.questionnaire",),
    )
    assert validator.validate_response(response) == []
