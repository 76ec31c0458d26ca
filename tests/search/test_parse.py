from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC
from decimal import Decimal

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import FhirError
from fhirstore.formats.text import fold
from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.queries import Query
from fhirstore.search.numbers import number_key
from fhirstore.search.parse import criteria, parse
from fhirstore.search.values import date_interval
from fhirstore.settings import Settings

Read = Callable[..., Query]
GENDERS = "http://hl7.org/fhir/administrative-gender"


def key(text: str) -> str:
    return number_key(Decimal(text))


def day(text: str) -> tuple[int, int]:
    return date_interval(text, UTC)


L, H = day("2024-06-12")


def exact(param: str, text: str) -> And:
    return And((String(param, "prefix", fold(text)), String(param, "exact", text)))


@pytest.mark.parametrize(
    ("type", "query", "where"),
    [
        ("Slot", "", MATCH_ALL),
        ("Slot", "_id=a", Ids(("a",))),
        ("Slot", "_id=a,b", Ids(("a", "b"))),
        # token
        ("Slot", "status=free", Token("status", None, "free")),
        ("Patient", "identifier=urn:s|7", Token("identifier", "urn:s", "7")),
        ("Patient", "identifier=|7", Token("identifier", "", "7")),
        ("Patient", "identifier=urn:s|", Token("identifier", "urn:s", None)),
        ("Patient", r"identifier=urn:s|a\|b\,c\$\\", Token("identifier", "urn:s", r"a|b,c$" + "\\")),
        (
            "Slot",
            "status=free, busy ,,",
            Or((Token("status", None, "free"), Token("status", None, "busy"))),
        ),
        (
            "Patient",
            "active=true&gender=male",
            And((Token("active", None, "true"), Token("gender", None, "male"))),
        ),
        ("Slot", "status:not=free", Not(Token("status", None, "free"))),
        ("Slot", "status:not=a,b", Not(Or((Token("status", None, "a"), Token("status", None, "b"))))),
        ("Patient", f"gender={GENDERS}|male", Token("gender", "", "male")),
        ("Patient", f"gender={GENDERS}|", Present("gender")),
        ("Patient", f"gender={GENDERS}|free", Token("gender", GENDERS, "free")),
        ("Patient", "gender=urn:other|male", Token("gender", "urn:other", "male")),
        ("Slot", "status=http://hl7.org/fhir/slotstatus|free", Token("status", "", "free")),
        ("Patient", "active=http://hl7.org/fhir/special-values|true", Token("active", "", "true")),
        # string
        ("Patient", "name=Élu", String("name", "prefix", "elu")),
        ("Patient", "name:contains=LUA", String("name", "contains", "lua")),
        ("Patient", "name:exact=Éluard", exact("name", "Éluard")),
        ("Patient", r"name=a\,b", String("name", "prefix", "a,b")),
        # uri
        ("ValueSet", "url=http://v.example/A", Uri("url", "http://v.example/A")),
        ("ValueSet", "url:below=http://v.example/", Uri("url", "http://v.example/", "below")),
        ("ValueSet", "url:above=http://v.example/A/B", Uri("url", "http://v.example/A/B", "above")),
        # reference
        ("Slot", "schedule=1", Reference("schedule", ("Schedule/1",))),
        ("Slot", "schedule=Schedule/1,2", Reference("schedule", ("Schedule/1", "Schedule/2"))),
        ("Slot", "schedule=Schedule/1/_history/4", Reference("schedule", ("Schedule/1",))),
        ("Slot", "schedule=http://server.example/fhir/Schedule/1", Reference("schedule", ("Schedule/1",))),
        ("Slot", "schedule=http://else.example/Schedule/1", Reference("schedule", ("http://else.example/Schedule/1",))),
        ("Observation", "subject:Patient=1", Reference("subject", ("Patient/1",))),
        ("Observation", "subject:Patient=Patient/1", Reference("subject", ("Patient/1",))),
        ("Observation", "subject:identifier=urn:s|7", Token("subject:identifier", "urn:s", "7")),
        (
            "QuestionnaireResponse",
            "questionnaire=http://q.example/a|2",
            Reference("questionnaire", ("http://q.example/a|2",)),
        ),
        # missing
        ("Patient", "gender:missing=true", Not(Present("gender"))),
        ("Patient", "name:missing=false", Present("name")),
        ("Observation", "subject:missing=false", Present("subject")),
        ("Patient", "_id:missing=true", MATCH_NONE),
        ("Patient", "_lastUpdated:missing=false", MATCH_ALL),
        # number and quantity
        ("RiskAssessment", "probability=100", Number("probability", ge=key("99.5"), lt=key("100.5"))),
        ("RiskAssessment", "probability=100.0", Number("probability", ge=key("99.95"), lt=key("100.05"))),
        ("RiskAssessment", "probability=1e2", Number("probability", ge=key("50"), lt=key("150"))),
        ("RiskAssessment", "probability=-5.4", Number("probability", ge=key("-5.45"), lt=key("-5.35"))),
        ("RiskAssessment", "probability=gt100", Number("probability", gt=key("100"))),
        ("RiskAssessment", "probability=sa100", Number("probability", gt=key("100"))),
        ("RiskAssessment", "probability=lt1e-3", Number("probability", lt=key("0.001"))),
        ("RiskAssessment", "probability=eb100", Number("probability", lt=key("100"))),
        ("RiskAssessment", "probability=ge100.00", Number("probability", ge=key("100"))),
        ("RiskAssessment", "probability=le100", Number("probability", le=key("100"))),
        ("RiskAssessment", "probability=ap100", Number("probability", ge=key("90"), le=key("110"))),
        ("RiskAssessment", "probability=ap-100", Number("probability", ge=key("-110"), le=key("-90"))),
        ("RiskAssessment", "probability=ap0", Number("probability", ge=key("-0.5"), le=key("0.5"))),
        (
            "RiskAssessment",
            "probability=ne5",
            Or((Number("probability", lt=key("4.5")), Number("probability", ge=key("5.5")))),
        ),
        (
            "Observation",
            "value-quantity=gt5.4|http://unitsofmeasure.org|mg",
            Number("value-quantity", gt=key("5.4"), system="http://unitsofmeasure.org", code="mg"),
        ),
        ("Observation", "value-quantity=le5.4||mg", Number("value-quantity", le=key("5.4"), code="mg")),
        ("Observation", "value-quantity=ge5", Number("value-quantity", ge=key("5"))),
        # dates: intervals
        ("Observation", "date=2024-06-12", Date("date", low_ge=L, high_le=H)),
        ("Observation", "date=eq2024-06-12", Date("date", low_ge=L, high_le=H)),
        ("Observation", "date=ne2024-06-12", Or((Date("date", low_lt=L), Date("date", high_gt=H)))),
        ("Observation", "date=gt2024-06-12", Date("date", high_gt=H)),
        ("Observation", "date=lt2024-06-12", Date("date", low_lt=L)),
        ("Observation", "date=ge2024-06-12", Or((Date("date", low_ge=L), Date("date", high_gt=H)))),
        ("Observation", "date=le2024-06-12", Or((Date("date", low_lt=L), Date("date", high_le=H)))),
        ("Observation", "date=sa2024-06-12", Date("date", low_ge=H)),
        ("Observation", "date=eb2024-06-12", Date("date", high_le=L)),
        # dates: points, and repetitions of a single-valued one merged
        ("Slot", "start=2024-06-12", Date("start", low_ge=L, low_lt=H)),
        ("Slot", "start=ge2024-06-12", Date("start", low_ge=L)),
        ("Slot", "start=le2024-06-12", Date("start", low_lt=H)),
        ("Slot", "start=gt2024-06-12", Date("start", low_ge=H)),
        ("Slot", "start=sa2024-06-12", Date("start", low_ge=H)),
        ("Slot", "start=lt2024-06-12", Date("start", low_lt=L)),
        ("Slot", "start=eb2024-06-12", Date("start", low_lt=L)),
        ("Slot", "start=ne2024-06-12", Or((Date("start", low_lt=L), Date("start", low_ge=H)))),
        ("Slot", "start=ge2024-06-12&start=le2024-06-12", Date("start", low_ge=L, low_lt=H)),
        (
            "Slot",
            "start=ge2024-06-12&start=ge2023&start=lt2025&start=le2026",
            Date("start", low_ge=L, low_lt=day("2025")[0]),
        ),
        (
            "Slot",
            "start=ge2024-06-12T16:20:00.000 02:00",
            Date("start", low_ge=day("2024-06-12T14:20:00.000Z")[0]),
        ),
        ("Slot", "start=ge2024-06-12T16:20:00", Date("start", low_ge=day("2024-06-12T14:20:00Z")[0])),  # Paris
        ("Slot", "_lastUpdated=ge2024-06-12", LastUpdated(ge=L)),
        ("Slot", "_lastUpdated=2024-06-12", LastUpdated(ge=L, lt=H)),
        ("Slot", "_lastUpdated=ne2024-06-12", Or((LastUpdated(lt=L), LastUpdated(ge=H)))),
    ],
)
def test_a_criterion_becomes_a_condition(read: Read, type: str, query: str, where: Condition) -> None:
    assert read(type, query, strict=True).where == where


def test_an_id_alone_names_a_resource_of_any_allowed_type(read: Read) -> None:
    where = read("Schedule", "actor=7").where
    assert isinstance(where, Reference)
    assert {"Practitioner/7", "PractitionerRole/7", "Location/7", "Patient/7"} <= set(where.targets)


def test_repetitions_of_a_parameter_with_several_values_stay_apart(read: Read) -> None:
    assert read("Patient", "family=a&family=b").where == And(
        (String("family", "prefix", "a"), String("family", "prefix", "b"))
    )


def test_bounds_on_a_date_with_several_values_stay_apart(read: Read) -> None:
    where = read("Encounter", "location-period=gt2024-06-12&location-period=lt2024-06-12").where
    assert where == And((Date("location-period", high_gt=H), Date("location-period", low_lt=L)))


def test_approximate_dates_widen_by_a_tenth_of_the_distance_to_now(read: Read) -> None:
    where = read("Observation", "date=ap2001-01-01").where
    assert isinstance(where, Date)
    low, high = day("2001-01-01")
    assert where.low_lt is not None
    assert where.high_gt is not None
    assert where.low_lt - high == low - where.high_gt > 2 * 365 * 86_400_000_000


# --- chains


@pytest.mark.parametrize(
    ("type", "query", "where"),
    [
        (
            "Slot",
            "schedule.actor:Practitioner.identifier=urn:s|7",
            Chain("schedule", "Schedule", Chain("actor", "Practitioner", Token("identifier", "urn:s", "7"))),
        ),
        ("Slot", "schedule.identifier=7", Chain("schedule", "Schedule", Token("identifier", None, "7"))),
        (
            "Slot",
            "schedule.actor.name=x",
            Chain(
                "schedule",
                "Schedule",
                Or(
                    tuple(
                        Chain("actor", t, String("name", "prefix", "x"))
                        for t in ("Location", "Patient", "Practitioner")
                    )
                ),
            ),
        ),
        ("Observation", "subject:Patient.name:exact=X", Chain("subject", "Patient", exact("name", "X"))),
        ("Observation", "subject:Patient._id=5", Chain("subject", "Patient", Ids(("5",)))),
        ("Observation", "subject:Patient._lastUpdated=ge2024-06-12", Chain("subject", "Patient", LastUpdated(ge=L))),
        ("Observation", "subject:Patient.gender:missing=true", Chain("subject", "Patient", Not(Present("gender")))),
        (
            "Observation",
            "subject:Patient.gender:not=male",
            Chain("subject", "Patient", Not(Token("gender", None, "male"))),
        ),
        (
            "Patient",
            "_has:Observation:patient:code=1",
            ReverseChain("Observation", "patient", Token("code", None, "1")),
        ),
        (
            "Practitioner",
            "_has:Schedule:actor:_has:Slot:schedule:status=free",
            ReverseChain("Schedule", "actor", ReverseChain("Slot", "schedule", Token("status", None, "free"))),
        ),
        (
            "Practitioner",
            "_has:Observation:performer:subject:Patient.name=x",
            ReverseChain("Observation", "performer", Chain("subject", "Patient", String("name", "prefix", "x"))),
        ),
        (
            "Encounter",
            "patient:Patient._has:Observation:patient:code=1",
            Chain("patient", "Patient", ReverseChain("Observation", "patient", Token("code", None, "1"))),
        ),
    ],
)
def test_chains_become_joins(read: Read, type: str, query: str, where: Condition) -> None:
    assert read(type, query, strict=True).where == where


def test_each_has_holds_on_its_own(read: Read) -> None:
    where = read("Schedule", "_has:Slot:schedule:status=free&_has:Slot:schedule:start=ge2024-06-12").where
    assert where == And(
        (
            ReverseChain("Slot", "schedule", Token("status", None, "free")),
            ReverseChain("Slot", "schedule", Date("start", low_ge=L)),
        )
    )


@pytest.mark.parametrize(
    ("type", "query", "says"),
    [
        ("Slot", "schedule.nothing=1", "'nothing'"),
        ("Slot", "schedule.actor:Slot.status=1", "does not refer to Slot"),
        ("Slot", "status.name=1", "only references"),
        ("Patient", "_has:Observation:code:status=final", "does not refer to Patient"),
        ("Patient", "_has:Observation:patient=final", "_has:Type"),
        ("Patient", "_has:Observation:patient:nothing=1", "'nothing'"),
        ("Patient", "_has:Basic:subject:code=1", "Basic"),
        ("Slot", "schedule.actor:Practitioner.nothing=1", "'nothing'"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_broken_chain_is_always_refused(read: Read, type: str, query: str, says: str, strict: bool) -> None:
    with pytest.raises(FhirError, match=says) as refused:
        read(type, query, strict=strict)
    assert refused.value.status == 400


@pytest.mark.parametrize("name", ["focus." * 600 + "status", "_has:Observation:focus:" * 600 + "status"])
def test_a_chain_that_is_too_long_is_too_costly(read: Read, name: str) -> None:
    with pytest.raises(FhirError, match="more than 10 steps") as refused:
        read("Observation", f"{name}=final")
    assert refused.value.status == 422


@pytest.mark.parametrize("last", ["status", "nothing"])
def test_a_chain_that_fans_out_without_end_is_too_costly(
    registry_of: Callable[[Mapping[str, str]], Registry], settings: Settings, last: str
) -> None:
    anything = registry_of(dict.fromkeys(("Composition", "QuestionnaireResponse", "List", "Account"), "subject status"))
    with pytest.raises(FhirError, match="name their types") as refused:
        parse(anything, "Composition", [("subject." * 10 + last, "x")], settings, strict=True, secret=b"")
    assert refused.value.status == 422


# --- refusals


@pytest.mark.parametrize(
    ("type", "query", "says"),
    [
        ("Observation", "date=yesterday", "YYYY"),
        ("Observation", "date=xx2024", "YYYY"),
        ("Observation", "date=2024-13", "month"),
        ("Observation", "value-quantity=five", "not a number"),
        ("Observation", "value-quantity=5|mg", "number||code"),
        ("RiskAssessment", "probability=1e9999999999999999999999", "not a number"),
        ("Slot", "status=a|b|c", "more than one"),
        ("Slot", "status=|", "no meaning"),
        ("Slot", "schedule=a b", "not a reference"),
        ("Observation", "subject:Patient=Group/1", "not a Patient"),
        ("Patient", "name=\u0301", "nothing to search for"),
        ("Patient", "gender:missing=maybe", "true or false"),
        ("Patient", "gender:in=http://v.example", ":in is not supported"),
        ("Patient", "gender:text=m", ":text is not supported"),
        ("Patient", "birthdate:exact=2024", ":exact is not supported"),
        ("Patient", "name:=x", "modifier must follow"),
        ("Observation", "subject:Slot=1", ":Slot is not supported"),
        ("QuestionnaireResponse", "questionnaire:identifier=1", ":identifier is not supported"),
        ("Patient", "_id:exact=1", "not supported"),
        ("Patient", "_count=-1", "0 or more"),
        ("Patient", "_count=many", "0 or more"),
        ("Patient", "_count=1&_count=2", "different values"),
        ("Patient", "_count:x=1", "no modifier"),
        ("Patient", "_total=some", "accurate"),
        ("Patient", "_summary=some", "count"),
        ("Patient", "_include=Patient", "form"),
        ("Patient", "_include:all=Patient:organization", "iterate"),
        ("Patient", "_page=abc", "page token"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_value_or_modifier_without_meaning_is_always_refused(
    read: Read, type: str, query: str, says: str, strict: bool
) -> None:
    with pytest.raises(FhirError, match=says.replace("|", r"\|")) as refused:
        read(type, query, strict=strict)
    assert refused.value.status == 400
    assert refused.value.issues[0].expression == ("http." + query.partition("=")[0],)


@pytest.mark.parametrize(
    "query",
    ["colour=red", "name=", "name=,", "_contained=true", "_text=x", "_sort=colour", "_include=Patient:name", "_count="],
)
def test_what_is_unknown_or_empty_is_refused_when_strict_else_left_out_with_a_warning(read: Read, query: str) -> None:
    name = query.partition("=")[0]
    with pytest.raises(FhirError) as refused:
        read("Patient", query, strict=True)
    assert refused.value.status == 400
    assert refused.value.issues[0].expression == (f"http.{name}",)

    lenient = read("Patient", f"{query}&gender=male")
    assert lenient.used == (("gender", "male"),)
    assert lenient.where == Token("gender", None, "male")
    assert [(i.severity, i.expression) for i in lenient.ignored] == [("warning", (f"http.{name}",))]


def test_the_message_on_an_unknown_parameter_lists_the_supported_ones(read: Read) -> None:
    with pytest.raises(FhirError, match="supported: _has, _id, _lastUpdated, identifier, schedule"):
        read("Slot", "colour=red", strict=True)


def test_a_parameter_that_is_only_indexed_for_a_chain_is_unknown_by_itself(
    registry: Registry, settings: Settings
) -> None:
    patient = registry.indexed_types["Patient"]
    hidden = {**patient, "gender": replace(patient["gender"], declared=False)}
    partly = replace(registry, indexed_types={**registry.indexed_types, "Patient": hidden})
    with pytest.raises(FhirError, match="gender"):
        parse(partly, "Patient", [("gender", "male")], settings, strict=True, secret=b"")
    chained = parse(partly, "Observation", [("subject:Patient.gender", "male")], settings, strict=True, secret=b"")
    assert chained.where == Chain("subject", "Patient", Token("gender", None, "male"))


def test_too_many_values_are_refused_with_the_setting(read: Read) -> None:
    with pytest.raises(FhirError, match="max_url_values") as refused:
        read("Patient", "identifier=1,2,3", settings=Settings(max_url_values=2))
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("query", "setting"),
    [
        ("name=a,b&_sort=name,family", "max_search_values"),
        ("colour=1&colour=2&colour=3&colour=4", "max_search_values"),  # unknown ones count
        ("_elements=a,b,c,d", "max_search_values"),
        ("_include=a&_include=b&_include=c&_include=d", "max_search_values"),
        ("name=,,,", "max_search_values"),
        ("name=abcdefgh", "max_value_chars"),
        ("identifier=a,bcdefghi", "max_value_chars"),
        ("_id=abcdefgh", "max_value_chars"),
        ("organization.name=abcdefgh", "max_value_chars"),
        ("name:contains=a,b", "max_scanned_values"),
        ("name:contains=a&family:contains=b", "max_scanned_values"),
        ("organization.name:contains=a,b", "max_scanned_values"),
        ("_has:Observation:patient:subject:Patient.name:contains=a,b", "max_scanned_values"),
    ],
)
def test_values_beyond_a_limit_are_refused_with_the_setting(
    read: Read, registry: Registry, query: str, setting: str
) -> None:
    settings = Settings(max_search_values=3, max_value_chars=7, max_scanned_values=1)
    with pytest.raises(FhirError, match=rf"\(setting {setting}\)") as refused:
        read("Patient", query, settings=settings)
    assert refused.value.status == 422
    params = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))]
    if not any(name.startswith(("_e", "_i", "colour")) for name, _ in params):
        with pytest.raises(FhirError, match=setting):
            criteria(registry, "Patient", params, settings)


def test_values_within_the_limits_are_accepted(read: Read) -> None:
    settings = Settings(max_search_values=3, max_value_chars=7, max_scanned_values=1)
    assert read("Patient", "name:contains=abcdefg&name=ab,cdefghi", settings=settings).used


def test_the_limit_of_scanned_values_holds_for_uris_above(read: Read) -> None:
    with pytest.raises(FhirError, match="max_scanned_values"):
        read("ValueSet", "url:above=a,b", settings=Settings(max_scanned_values=1))


# --- conditional criteria


def test_criteria_read_like_a_strict_search(registry: Registry, settings: Settings) -> None:
    where = criteria(registry, "Patient", [("identifier", "urn:s|7"), ("_format", "json")], settings)
    assert where == Token("identifier", "urn:s", "7")


@pytest.mark.parametrize(
    "params", [[], [("_format", "json")], [("colour", "red")], [("identifier", "")], [("_count", "1")]]
)
def test_criteria_must_name_something_known(
    registry: Registry, settings: Settings, params: list[tuple[str, str]]
) -> None:
    with pytest.raises(FhirError) as refused:
        criteria(registry, "Patient", params, settings)
    assert refused.value.status == 400
