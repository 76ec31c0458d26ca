"""Objects that keep an invariant of R4, and others that break it: of invariants whose objects the generator does not
make, and of those that the library reads in another way."""

from __future__ import annotations

from typing import Any, NamedTuple

Json = dict[str, Any]


class Example(NamedTuple):
    sound: tuple[Json, ...]
    faulty: tuple[Json, ...]


def _kg(value: int) -> Json:
    return {"value": value, "code": "kg"}


def _item(type: str, **more: Any) -> Json:
    return {"linkId": "1", "type": type, **more}


_CHROMOSOME = {"chromosome": {"text": "1"}}
_ONE = {"resourceType": "Patient"}
_OPTION = {"answerOption": [{"valueString": "a"}]}
_INITIAL = [{"valueString": "a"}]
_WHEN = {"question": "1", "operator": "=", "answerBoolean": True}
_INNER = {"item": [_item("display")]}
_ELEMENT = {"path": "Patient", "min": 0, "max": "1", "definition": "d", "base": {"path": "Patient"}}
_NAME = _ELEMENT | {"path": "Patient.name"}


def _without(key: str) -> Json:
    return {"element": [_ELEMENT, {k: v for k, v in _NAME.items() if k != key}]}


_COMPOSITION = {"resource": {"resourceType": "Composition"}}
_HEADER = {"resource": {"resourceType": "MessageHeader"}}
_PATIENT = {"resource": _ONE}

EXAMPLES: dict[tuple[str, str], Example] = {
    ("Appointment", "app-4"): Example(
        ({"status": "cancelled", "cancelationReason": {"text": "x"}}, {"status": "booked"}),
        ({"status": "booked", "cancelationReason": {"text": "x"}},),
    ),
    # An `is` without an operand is false: a document without entries has no Composition.
    ("Bundle", "bdl-11"): Example(
        ({"type": "document", "entry": [_COMPOSITION]}, {"type": "collection"}),
        (
            {"type": "document"},
            {"type": "document", "entry": [{"fullUrl": "urn:a:b"}]},
            {"type": "document", "entry": [_PATIENT, _COMPOSITION]},
        ),
    ),
    ("Bundle", "bdl-12"): Example(
        ({"type": "message", "entry": [_HEADER]}, {"type": "document"}), ({"type": "message"},)
    ),
    ("Bundle.entry", "bdl-5"): Example(
        ({"resource": _ONE}, {"request": {"method": "GET"}}, {"response": {"status": "200"}}), ({"fullUrl": "urn:a:b"},)
    ),
    ("Bundle.entry", "bdl-8"): Example(
        ({"fullUrl": "http://h/Patient/1"}, {"resource": _ONE}), ({"fullUrl": "http://h/Patient/1/_history/2"},)
    ),
    ("MedicationDispense", "mdd-1"): Example(
        (
            {"whenPrepared": "2020-01-01", "whenHandedOver": "2020-01-02"},
            {"whenPrepared": "2020"},
            {"whenPrepared": "2020-01-02", "whenHandedOver": "2020-02"},
        ),
        (
            {"whenPrepared": "2020-01-02", "whenHandedOver": "2020-01-01"},
            {"whenPrepared": "2020-01-02", "whenHandedOver": "2020-01"},
        ),
    ),
    ("MessageDefinition.focus", "md-1"): Example(({"max": "*"}, {"max": "2"}, {}), ({"max": "0"}, {"max": "many"})),
    ("MolecularSequence.referenceSeq", "msq-5"): Example(
        (_CHROMOSOME | {"genomeBuild": "b"}, {"referenceSeqString": "s"}),
        (_CHROMOSOME,),
    ),
    ("MolecularSequence.referenceSeq", "msq-6"): Example(
        ({"genomeBuild": "b"}, {"referenceSeqString": "s"}), ({"genomeBuild": "b", "referenceSeqString": "s"}, {})
    ),
    ("OperationDefinition.parameter", "opd-2"): Example(
        ({"searchType": "date", "type": "string"}, {"type": "Reference"}), ({"searchType": "date"},)
    ),
    ("OperationDefinition.parameter", "opd-3"): Example(
        ({"targetProfile": ["http://p"], "type": "Reference"}, {"part": []}),
        ({"targetProfile": ["http://p"]}, {"targetProfile": ["http://p"], "type": "string"}),
    ),
    # Dates that are equal at their common precision have no order, which violates the invariant.
    ("Period", "per-1"): Example(
        (
            {"start": "2024-01-15"},
            {"start": "2024", "end": "2024"},
            {"start": "2024-01-14", "end": "2024-01-15T10:00:00Z"},
        ),
        (
            {"start": "2024-02", "end": "2024-01"},
            {"start": "2024-01-16", "end": "2024-01-15T10:00:00Z"},
            {"start": "2024-01-15", "end": "2024"},
            {"start": "2024-01-15", "end": "2024-01-15T10:00:00Z"},
        ),
    ),
    ("Questionnaire.item", "que-1"): Example(
        (_item("group", **_INNER), _item("display"), _item("string", **_INNER)),
        (_item("group"), _item("display", **_INNER)),
    ),
    ("Questionnaire.item", "que-10"): Example(
        (_item("string", maxLength=3), _item("date")), (_item("date", maxLength=3),)
    ),
    ("Questionnaire.item", "que-11"): Example(
        (_item("choice", **_OPTION), _item("choice", initial=_INITIAL)), (_item("choice", initial=_INITIAL, **_OPTION),)
    ),
    ("Questionnaire.item", "que-12"): Example(
        (_item("string", enableWhen=[_WHEN] * 2), _item("string", enableWhen=[_WHEN] * 3, enableBehavior="all")),
        (_item("string", enableWhen=[_WHEN] * 3),),
    ),
    ("Questionnaire.item", "que-13"): Example(
        (_item("string", initial=_INITIAL), _item("string", initial=_INITIAL * 2, repeats=True)),
        (_item("string", initial=_INITIAL * 2, repeats=False), _item("string", initial=_INITIAL * 2)),
    ),
    ("Questionnaire.item", "que-3"): Example(
        (_item("display"), _item("string", code=[{"code": "c"}])), (_item("display", code=[{"code": "c"}]),)
    ),
    ("Questionnaire.item", "que-4"): Example(
        (_item("choice", **_OPTION), _item("choice", answerValueSet="http://v")),
        (_item("choice", answerValueSet="http://v", **_OPTION),),
    ),
    ("Questionnaire.item", "que-5"): Example(
        (_item("choice", **_OPTION), _item("boolean")), (_item("boolean", **_OPTION),)
    ),
    ("Questionnaire.item", "que-6"): Example(
        (_item("display"), _item("string", required=True)),
        (_item("display", required=True), _item("display", repeats=True)),
    ),
    ("Questionnaire.item", "que-8"): Example(
        (_item("string", initial=_INITIAL), _item("group")),
        (_item("group", initial=_INITIAL), _item("display", initial=_INITIAL)),
    ),
    ("Questionnaire.item", "que-9"): Example(
        (_item("display"), _item("string", readOnly=True)), (_item("display", readOnly=True),)
    ),
    ("Questionnaire.item.enableWhen", "que-7"): Example(
        ({"operator": "exists", "answerBoolean": True}, {"operator": "=", "answerString": "a"}),
        ({"operator": "exists", "answerString": "a"},),
    ),
    ("Range", "rng-2"): Example(
        ({"low": _kg(1), "high": _kg(2)}, {"low": _kg(1)}, {"low": _kg(2), "high": {"value": 1, "code": "t"}}),
        ({"low": _kg(2), "high": _kg(1)},),
    ),
    ("RiskAssessment.prediction", "ras-2"): Example(
        ({"outcome": {"text": "o"}}, {"probabilityDecimal": 50}, {"probabilityRange": {"low": {"value": 200}}}, {}),
        ({"probabilityDecimal": 101},),
    ),
    ("StructureDefinition.snapshot", "sdf-10"): Example(
        ({"element": [_ELEMENT, _NAME | {"binding": {"strength": "required", "valueSet": "http://v"}}]},),
        ({"element": [_ELEMENT, _NAME | {"binding": {"strength": "required"}}]},),
    ),
    ("StructureDefinition.snapshot", "sdf-3"): Example(
        ({"element": [_ELEMENT, _NAME]},), (_without("definition"), _without("min"), _without("max"))
    ),
    ("StructureDefinition.snapshot", "sdf-8"): Example(
        ({"element": [_ELEMENT, _NAME]},),
        ({"element": [_NAME, _ELEMENT]}, {"element": [_ELEMENT, _NAME | {"path": "Person.name"}]}),
    ),
    ("StructureDefinition.snapshot", "sdf-8b"): Example(({"element": [_ELEMENT, _NAME]},), (_without("base"),)),
    ("TestScript.setup.action.operation", "tst-7"): Example(({"url": "u"}, {"type": {"code": "search"}}), ({},)),
    # What is recommended about a name does not require one.
    ("ValueSet", "vsd-0"): Example(({"name": "Abc"}, {}), ({"name": "a b"},)),
    ("ValueSet.expansion.contains", "vsd-9"): Example(
        ({"code": "a"}, {"display": "d", "abstract": True}), ({"display": "d"}, {"display": "d", "abstract": False})
    ),
    ("Task", "inv-1"): Example(
        (
            {"authoredOn": "2020-01-01", "lastModified": "2020-01-02"},
            {"authoredOn": "2020"},
            {"authoredOn": "2020", "lastModified": "2020"},
        ),
        (
            {"authoredOn": "2020-01-02", "lastModified": "2020-01-01"},
            {"authoredOn": "2020-01-02", "lastModified": "2020"},
        ),
    ),
}
"""By the node that states the invariant and its key."""


def around(path: str, value: Json) -> Json:
    """The resource in which an example stands, as far as the invariants look at it."""
    if path == "StructureDefinition.snapshot":
        return {"resourceType": "StructureDefinition", "kind": "resource", "type": "Patient", "snapshot": value}
    return {"resourceType": path.partition(".")[0], **value}
