"""https://hl7.org/fhir/R4/questionnaireresponse.html: a QuestionnaireResponse against its Questionnaire.

Checked: link ids and their order, nesting, required items, repetitions, types of answers, permitted answers, limits of
values and lengths, and `enableWhen`. Severities are those of the reference validator (org.hl7.fhir.core). In a response
that is in progress, missing answers give warnings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from fhirstore.errors import Issue
from fhirstore.fhirpath.evaluation import equal
from fhirstore.fhirpath.operators import compare
from fhirstore.model.messages import Message
from fhirstore.terminology.model import Membership
from fhirstore.terminology.service import TerminologySnapshot
from fhirstore.validation.issue_list import IssueList, RelativeIssue
from fhirstore.validation.text import describe, listed, render

Json = Mapping[str, Any]
IsMember = Callable[[str, str | None, str], Membership]
"""(value set, system, code) -> whether the code is in it; a string says why that is unknown."""

_NAME = "QuestionnaireResponse"
_EXTENSION = "http://hl7.org/fhir/StructureDefinition/"
_VALUE_TYPES: Mapping[str, tuple[str, ...]] = {
    "boolean": ("valueBoolean",),
    "decimal": ("valueDecimal",),
    "integer": ("valueInteger",),
    "date": ("valueDate",),
    "dateTime": ("valueDateTime",),
    "time": ("valueTime",),
    "string": ("valueString",),
    "text": ("valueString",),
    "url": ("valueUri",),
    "choice": ("valueCoding",),
    "open-choice": ("valueCoding", "valueString"),
    "attachment": ("valueAttachment",),
    "reference": ("valueReference",),
    "quantity": ("valueQuantity",),
}
_COMPARISONS: Mapping[str, Callable[[int], bool]] = {
    ">": lambda order: order > 0,
    "<": lambda order: order < 0,
    ">=": lambda order: order >= 0,
    "<=": lambda order: order <= 0,
}


def response_issues(
    response: Json, find: Callable[[str], Json | None], terminology: TerminologySnapshot
) -> list[Issue]:
    """The issues of a response (valid R4) to the questionnaire that it names, which it can contain.

    find: the Questionnaire with a canonical, None if it is unavailable, which gives a warning."""
    canonical = response.get("questionnaire")
    if type(canonical) is not str:
        return []
    questionnaire = _contained(response, canonical) if canonical.startswith("#") else find(canonical)
    if questionnaire is None:
        text = Message("The answers are not checked: the questionnaire {url} is unavailable.", url=canonical)
        return [Issue("warning", "not-found", text, (f"{_NAME}.questionnaire",))]
    found = check_response(response, questionnaire, partial(_membership, terminology, questionnaire))
    return found.to_issues(_NAME) if found is not None else []


def _membership(
    terminology: TerminologySnapshot, questionnaire: Json, value_set: str, system: str | None, code: str
) -> Membership:
    """Whether a code is in a value set, which the questionnaire can contain."""
    if not value_set.startswith("#"):
        return terminology.value_set(value_set).membership(system, code)
    contained = _contained(questionnaire, value_set)
    if contained is None:
        return Message("{value_set} is not in contained", value_set=value_set)
    return terminology.compile_value_set(contained).membership(system, code)


def _contained(resource: Json, reference: str) -> Json | None:
    return next((one for one in resource.get("contained", ()) if one.get("id") == reference[1:]), None)


def check_response(response: Json, questionnaire: Json, is_member: IsMember) -> IssueList | None:
    """The issues of a response (valid R4) to a questionnaire (valid R4). Paths are below the response."""
    checker = _Checker(response, questionnaire, is_member)
    checker.items(questionnaire.get("item", ()), response.get("item", ()), "")
    return checker.found if checker.found.errors or checker.found.warnings else None


class _Checker:
    def __init__(self, response: Json, questionnaire: Json, is_member: IsMember):
        self.found = IssueList()
        self._is_member = is_member
        self._in_progress = response.get("status") == "in-progress"
        self._known = {str(item.get("linkId")) for item in _descendants(questionnaire)}
        self._answers: dict[str, list[Any]] = {}
        for item in _descendants(response):
            self._answers.setdefault(str(item.get("linkId")), []).extend(
                value for answer in item.get("answer", ()) for _, value in _value_of(answer)
            )

    def _error(self, code: str, path: str, text: str) -> None:
        self.found.errors.append(RelativeIssue(code, text, path, "questionnaire"))

    def _missing(self, path: str, text: str) -> None:
        kept = self.found.warnings if self._in_progress else self.found.errors
        kept.append(RelativeIssue("required", text, path, "questionnaire"))

    # --- items

    def items(self, defined: Any, given: Any, path: str) -> None:
        """Checks the items at one level. path: FHIRPath of the object that has them."""
        order = {str(item.get("linkId")): number for number, item in enumerate(defined)}
        by_link: dict[str, list[tuple[str, Json]]] = {}
        last = -1
        for number, item in enumerate(given):
            here, link = f"{path}.item[{number}]", str(item.get("linkId"))
            if link not in order:
                self._error("not-found", here, self._unknown_link(link))
                continue
            if order[link] < last:
                self._error("structure", here, Message("item {link} is out of order", link=describe(link)))
            last = max(last, order[link])
            by_link.setdefault(link, []).append((here, item))
        for item in defined:
            if self.found.is_full:
                return
            self._item(item, by_link.get(str(item.get("linkId")), []), path)

    def _unknown_link(self, link: str) -> Message:
        if link in self._known:
            return Message("item {link} does not belong here in the questionnaire", link=describe(link))
        return Message("the questionnaire has no item {link}", link=describe(link))

    def _item(self, defined: Json, given: list[tuple[str, Json]], path: str) -> None:
        link, kind = describe(str(defined.get("linkId"))), defined.get("type")
        if not self._is_enabled(defined):
            for here, item in given:
                if "answer" in item or "item" in item:
                    self._error("invalid", here, Message("item {link} is not enabled by enableWhen", link=link))
            return
        if not given:
            if defined.get("required") is True and kind != "display":
                self._missing(path, Message("item {link} is required", link=link))
            return
        if len(given) > 1 and not (kind == "group" and defined.get("repeats") is True):
            self._error("structure", given[1][0], Message("item {link} occurs once", link=link))
        for here, item in given:
            if kind in ("group", "display"):
                self._container(defined, item, here, kind)
            else:
                self._question(defined, item, here)

    def _container(self, defined: Json, item: Json, path: str, kind: str) -> None:
        """Checks a group or a display."""
        if "answer" in item:
            text = Message("an item of the type {type} has no answers", type=kind)
            self._error("structure", f"{path}.answer", text)
        if kind == "group":
            if defined.get("required") is True and not item.get("item"):
                self._missing(path, Message("the required group has no items"))
            self.items(defined.get("item", ()), item.get("item", ()), path)

    # --- answers

    def _question(self, defined: Json, item: Json, path: str) -> None:
        answers = item.get("answer", [])
        if "item" in item:
            self._error("structure", f"{path}.item", Message("the items of a question are in its answers"))
        low = _limit(defined, "questionnaire-minOccurs") or (1 if defined.get("required") is True else 0)
        high = _limit(defined, "questionnaire-maxOccurs") if defined.get("repeats") is True else 1
        if len(answers) < low:
            self._missing(path, Message("{count} answers; at least {low} required", count=len(answers), low=low))
        if high is not None and len(answers) > high:
            text = Message("{count} answers; at most {high} allowed", count=len(answers), high=high)
            self._error("structure", f"{path}.answer[{high}]", text)
        for number, answer in enumerate(answers):
            here = f"{path}.answer[{number}]"
            for key, value in _value_of(answer):
                self._value(defined, key, value, f"{here}.value")
            self.items(defined.get("item", ()), answer.get("item", ()), here)

    def _value(self, defined: Json, key: str, value: Any, path: str) -> None:
        kind, options = str(defined.get("type")), defined.get("answerOption", ())
        expected = _VALUE_TYPES.get(kind, (key,))
        if kind in ("choice", "open-choice"):
            expected += tuple(k for option in options for k, _ in _value_of(option))
        if key not in expected:
            types = listed({k.removeprefix("value") for k in expected})
            text = Message("expected {types}, found {type}", types=types, type=key.removeprefix("value"))
            self._error("structure", path, text)
            return
        is_free = kind == "open-choice" and key == "valueString"
        if (
            options
            and not is_free
            and not any(_is_option(value, o) for option in options for _, o in _value_of(option))
        ):
            self._error(
                "code-invalid", path, Message("{value} is not one of the permitted answers", value=render(value))
            )
        if "answerValueSet" in defined and key == "valueCoding":
            self._member(str(defined["answerValueSet"]), value, path)
        self._limits(defined, value, path)

    def _member(self, value_set: str, coding: Json, path: str) -> None:
        verdict = self._is_member(value_set, coding.get("system", ""), str(coding.get("code", "")))
        if verdict is True:
            return
        if verdict is False:
            text = Message("{value} is not in the value set {value_set}", value=render(coding), value_set=value_set)
            self._error("code-invalid", path, text)
            return
        text = Message("not checked against the value set {value_set}: {reason}", value_set=value_set, reason=verdict)
        self.found.warnings.append(RelativeIssue("not-supported", text, path, "questionnaire"))

    def _limits(self, defined: Json, value: Any, path: str) -> None:
        """Checks maxLength and the extensions minLength, minValue, maxValue and maxDecimalPlaces."""
        shortest, longest = _limit(defined, "minLength"), defined.get("maxLength")
        if type(value) is str and longest is not None and len(value) > longest:
            text = Message("{count} characters; at most {length} are allowed", count=len(value), length=longest)
            self._error("too-long", path, text)
        if type(value) is str and shortest is not None and len(value) < shortest:
            text = Message("{count} characters; at least {length} are required", count=len(value), length=shortest)
            self._error("value", path, text)
        for name, sign in (("minValue", 1), ("maxValue", -1)):
            limit = _limit(defined, name)
            order = compare(value, limit) if limit is not None else None
            if order is not None and order * sign < 0:
                shown, bound = render(value), render(limit)
                text = Message("{value} is below the minimum {limit}", value=shown, limit=bound)
                if sign < 0:
                    text = Message("{value} is above the maximum {limit}", value=shown, limit=bound)
                self._error("value", path, text)
        places = _limit(defined, "maxDecimalPlaces")
        if places is not None and type(value) is Decimal and -int(value.as_tuple().exponent) > places:
            text = Message("{value} has more than {places} decimal places", value=render(value), places=places)
            self._error("value", path, text)

    # --- enableWhen

    def _is_enabled(self, defined: Json) -> bool:
        conditions = defined.get("enableWhen", ())
        if not conditions:
            return True
        verdicts = [self._holds(condition) for condition in conditions]
        return any(verdicts) if defined.get("enableBehavior") == "any" else all(verdicts)

    def _holds(self, condition: Json) -> bool:
        """https://hl7.org/fhir/R4/valueset-questionnaire-enable-operator.html"""
        answers = self._answers.get(str(condition.get("question")), [])
        operator = condition.get("operator")
        wanted = next((v for k, v in condition.items() if k.startswith("answer")), None)
        if operator == "exists":
            return bool(answers) is wanted
        if operator == "=":
            return any(_is_option(answer, wanted) for answer in answers)
        if operator == "!=":
            return bool(answers) and not any(_is_option(answer, wanted) for answer in answers)
        test = _COMPARISONS.get(str(operator))
        orders = (compare(answer, wanted) for answer in answers)
        return test is not None and any(order is not None and test(order) for order in orders)


def _descendants(parent: Json) -> Iterator[Json]:
    """All items below a questionnaire, a response, an item or an answer."""
    for item in (*parent.get("item", ()), *parent.get("answer", ())):
        if "linkId" in item:
            yield item
        yield from _descendants(item)


def _value_of(answer: Json) -> Iterator[tuple[str, Any]]:
    """(key, value) of `value[x]`."""
    yield from ((key, value) for key, value in answer.items() if key.startswith("value"))


def _is_option(value: Any, option: Any) -> bool:
    """Whether a value is an option. Codings are compared by system and code, references by reference."""
    if type(value) is dict and type(option) is dict:
        if "code" in option:
            return all(value.get(k) == option.get(k) for k in ("system", "code"))
        if "reference" in option:
            return bool(value.get("reference") == option["reference"])
    return equal(option, value)


def _limit(defined: Json, name: str) -> Any:
    """The value of an extension of an item, None if it is absent."""
    for extension in defined.get("extension", ()):
        if extension.get("url") == _EXTENSION + name:
            return next((value for _, value in _value_of(extension)), None)
    return None
