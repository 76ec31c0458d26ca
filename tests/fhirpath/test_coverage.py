"""Every operator, function and variable of FHIRPath in R4 is evaluated, or the table says why it is not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhirstore.definitions.core import Definitions
from fhirstore.fhirpath import coverage, functions, operators
from fhirstore.fhirpath.adapter import library_predicate
from fhirstore.fhirpath.compiler import VARIABLES, compile_expression, compile_native_predicate
from fhirstore.fhirpath.evaluation import Environment, QuantityValue, Unsupported
from fhirstore.fhirpath.parser import PRECEDENCE, parse
from fhirstore.fhirpath.predicates import compile_predicate
from fhirstore.fhirpath.services import NoServices

# http://hl7.org/fhirpath/N1/#functions, section by section, then https://hl7.org/fhir/R4/fhirpath.html#functions
N1_FUNCTIONS = [
    "empty",
    "exists",
    "all",
    "allTrue",
    "anyTrue",
    "allFalse",
    "anyFalse",
    "subsetOf",
    "supersetOf",
    "count",
    "distinct",
    "isDistinct",
    "where",
    "select",
    "repeat",
    "ofType",
    "single",
    "first",
    "last",
    "tail",
    "skip",
    "take",
    "intersect",
    "exclude",
    "union",
    "combine",
    "iif",
    "toBoolean",
    "convertsToBoolean",
    "toInteger",
    "convertsToInteger",
    "toDate",
    "convertsToDate",
    "toDateTime",
    "convertsToDateTime",
    "toDecimal",
    "convertsToDecimal",
    "toQuantity",
    "convertsToQuantity",
    "toString",
    "convertsToString",
    "toTime",
    "convertsToTime",
    "indexOf",
    "substring",
    "startsWith",
    "endsWith",
    "contains",
    "upper",
    "lower",
    "replace",
    "matches",
    "replaceMatches",
    "length",
    "toChars",
    "abs",
    "ceiling",
    "exp",
    "floor",
    "ln",
    "log",
    "power",
    "round",
    "sqrt",
    "truncate",
    "children",
    "descendants",
    "trace",
    "now",
    "timeOfDay",
    "today",
    "is",
    "as",
    "not",
    "aggregate",
    "type",
]
R4_FUNCTIONS = [
    "extension",
    "hasValue",
    "getValue",
    "resolve",
    "ofType",
    "elementDefinition",
    "slice",
    "checkModifiers",
    "conformsTo",
    "memberOf",
    "subsumes",
    "subsumedBy",
    "htmlChecks",
]
N1_OPERATORS = [
    "=",
    "~",
    "!=",
    "!~",
    ">",
    "<",
    "<=",
    ">=",
    "is",
    "as",
    "|",
    "in",
    "contains",
    "and",
    "or",
    "xor",
    "implies",
    "*",
    "/",
    "+",
    "-",
    "div",
    "mod",
    "&",
    "[]",
    ".",
]
R4_VARIABLES = [
    "$this",
    "$index",
    "$total",
    "%context",
    "%resource",
    "%rootResource",
    "%ucum",
    "%sct",
    "%loinc",
    "%vs-[name]",
    "%ext-[name]",
]

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "birthDate": "1970-01-31",
    "_birthDate": {"id": "b", "extension": [{"url": "u", "valueString": "x"}]},
    "deceasedDateTime": "2020-02-01T10:00:00Z",
    "multipleBirthInteger": 2,
    "name": [{"family": "Curie", "given": ["Marie", "Salomea"]}, {"text": "M. C.", "given": ["Marie"]}],
    "managingOrganization": {"reference": "#o"},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "N"}],
}

EXAMPLES: dict[str, list[tuple[str, list[Any]]]] = {
    # operators
    "=": [("active = true", [True]), ("deceased = @2020-02-01T10:00:00Z", [True]), ("birthDate = @1970-01", []),
          ("birthDate = @1971", [False]), ("{} = 1", []), ("name.given = 'a'", [False]), ("1 = 1.0", [True])],
    "!=": [("active != false", [True]), ("birthDate != @1970", []), ("1 year != 1 year", [False])],
    "~": [("'A  b' ~ 'a B'", [True]), ("{} ~ {}", [True]), ("(1 | 2) ~ (2 | 1)", [True]), ("1.01 ~ 1.0", [True]),
          ("name[0] ~ name[1]", [False]), ("name[0] ~ name[0]", [True])],
    "!~": [("'a' !~ 'b'", [True]), ("1 !~ {}", [True])],
    "<": [("birthDate < @1980-01-01", [True]), ("birthDate < @1970-01", []), ("'ab' < 'abc'", [True]),
          ("1 < 2", [True]), ("1 'mg' < 2 'mg'", [True]), ("1 'mg' < 2 'g'", []), ("@T10:00 < @T10:00:30", [])],
    "<=": [("1 <= {}", []), ("2.0 <= 2", [True])],
    ">": [("@2020-01-01 > @2019", [True]), ("@2020 > @2020-05", [])],
    ">=": [("@T10:00:00.5 >= @T10:00:00", [True]), ("@2020-02-01T12:00:00+02:00 >= deceased", [True])],
    "is": [("deceased is dateTime", [True]), ("deceased is boolean", [False]), ("link.other is Reference", []),
           ("contained.is(Organization)", [True]), ("birthDate is System.String", [False])],
    "as": [("(deceased as dateTime) > @2019-01-01T00:00:00Z", [True]), ("(deceased as boolean)", [])],
    "|": [("(1 | 1 | 2).count()", [2])],
    "in": [("'Marie' in name.given", [True]), ("1 in {}", [False]), ("{} in (1 | 2)", [])],
    "contains": [("name.given contains 'x'", [False]), ("'abc'.contains('b')", [True]), ("{}.contains('b')", [])],
    "and": [("true and {}", []), ("false and {}", [False]), ("true and true", [True])],
    "or": [("false or {}", []), ("true or {}", [True]), ("false or false", [False])],
    "xor": [("true xor false", [True]), ("true xor {}", [])],
    "implies": [("false implies {}", [True]), ("true implies {}", []), ("{} implies true", [True]),
                ("{} implies false", []), ("true implies false", [False])],
    "*": [("3 * 1.5", [Decimal("4.5")])],
    "/": [("3 / 2", [Decimal("1.5")]), ("1 / 0", [])],
    "+": [("1 + 2", [3]), ("'a' + 'b'", ["ab"]), ("'a' + {}", []), ("@2020-01-31 + 1 month", ["2020-02-29"]),
          ("@2020-01-31 + 1 day", ["2020-02-01"]), ("@2020 + 12 months", ["2021"]), ("@2020-01 + 1 day", []),
          ("deceased + 90 minutes", ["2020-02-01T11:30:00Z"]), ("1 'mg' + 2 'mg'", [QuantityValue(3, "mg")])],
    "-": [("3 - 5", [-2]), ("-(1)", [-1]), ("birthDate - 1 year", ["1969-01-31"]),
          ("@2020-03-01 - 1 week", ["2020-02-23"])],
    "div": [("7 div 2", [3]), ("7 div 0", [])],
    "mod": [("7 mod 2", [1])],
    "&": [("'a' & {} & 'b'", ["ab"])],
    "[]": [("name[1].text", ["M. C."]), ("name[9]", []), ("name[1 - 1].family", ["Curie"])],
    ".": [("name.family", ["Curie"]), ("birthDate.id", ["b"])],
    # functions
    "empty": [("contact.empty()", [True]), ("name.empty()", [False])],
    "exists": [("name.exists()", [True]), ("name.exists(text = 'x')", [False])],
    "not": [("active.not()", [False]), ("{}.not()", [])],
    "all": [("name.all(given.exists())", [True]), ("{}.all(false)", [True]), ("name.all($index < 1)", [False])],
    "allTrue": [("(true | false).allTrue()", [False])],
    "anyTrue": [("(true | false).anyTrue()", [True])],
    "allFalse": [("(true | false).allFalse()", [False])],
    "anyFalse": [("(true | false).anyFalse()", [True])],
    "subsetOf": [("(1 | 2).subsetOf(1 | 2 | 3)", [True]), ("(1 | 4).subsetOf(1 | 2 | 3)", [False])],
    "supersetOf": [("(1 | 2).supersetOf(2)", [True]), ("{}.supersetOf(2)", [False])],
    "count": [("name.given.count()", [3])],
    "distinct": [("name.given.distinct()", ["Marie", "Salomea"])],
    "isDistinct": [("name.given.isDistinct()", [False])],
    "where": [("name.where(text.exists()).given", ["Marie"]), ("name.where($index = 0).family", ["Curie"])],
    "select": [("name.select(given.first())", ["Marie", "Marie"])],
    "repeat": [("contained.repeat(contained)", []), ("name.given.repeat('x')", ["x"])],
    "ofType": [("deceased.ofType(dateTime)", ["2020-02-01T10:00:00Z"]), ("deceased.ofType(boolean)", [])],
    "single": [("name.text.single()", ["M. C."])],
    "first": [("name.given.first()", ["Marie"])],
    "last": [("name.given.last()", ["Marie"])],
    "tail": [("name.given.tail()", ["Salomea", "Marie"])],
    "skip": [("name.given.skip(2)", ["Marie"]), ("name.given.skip(-1).count()", [3])],
    "take": [("name.given.take(1)", ["Marie"]), ("name.given.take(0)", [])],
    "intersect": [("(1 | 2).intersect(2 | 3)", [2])],
    "exclude": [("name.given.exclude('Salomea')", ["Marie", "Marie"])],
    "union": [("(1 | 2).union(2 | 3)", [1, 2, 3])],
    "combine": [("1.combine(1)", [1, 1])],
    "iif": [("iif(active, 'y', 'n')", ["y"]), ("iif({}, 1)", [])],
    "toBoolean": [("'yes'.toBoolean()", [True]), ("'x'.toBoolean()", []), ("0.toBoolean()", [False])],
    "convertsToBoolean": [("'x'.convertsToBoolean()", [False]), ("{}.convertsToBoolean()", [])],
    "toInteger": [("'12'.toInteger()", [12]), ("'1.5'.toInteger()", []), ("true.toInteger()", [1])],
    "convertsToInteger": [("'12'.convertsToInteger()", [True])],
    "toDate": [("deceased.toDate()", ["2020-02-01"]), ("'x'.toDate()", [])],
    "convertsToDate": [("'2020'.convertsToDate()", [True])],
    "toDateTime": [("birthDate.toDateTime()", ["1970-01-31"])],
    "convertsToDateTime": [("'soon'.convertsToDateTime()", [False])],
    "toDecimal": [("'1.50'.toDecimal()", [Decimal("1.50")])],
    "convertsToDecimal": [("'a'.convertsToDecimal()", [False])],
    "toQuantity": [("'4 days'.toQuantity()", [QuantityValue(Decimal(4), "d")]), ("'x'.toQuantity()", []),
                   ("'4 \\'mg\\''.toQuantity() = 4 'mg'", [True]), ("5.toQuantity()", [QuantityValue(5, "1")])],
    "convertsToQuantity": [("'4 days'.convertsToQuantity()", [True])],
    "toString": [("true.toString()", ["true"]), ("1.50.toString()", ["1.50"]), ("(1 day).toString()", ["1 'd'"])],
    "convertsToString": [("name[0].convertsToString()", [False])],
    "toTime": [("'10:00'.toTime()", ["10:00"])],
    "convertsToTime": [("'25'.convertsToTime()", [True]), ("'noon'.convertsToTime()", [False])],
    "indexOf": [("'abc'.indexOf('c')", [2]), ("'abc'.indexOf('x')", [-1])],
    "substring": [("'abc'.substring(1)", ["bc"]), ("'abc'.substring(1, 1)", ["b"]), ("'abc'.substring(9)", [])],
    "startsWith": [("'abc'.startsWith('a')", [True]), ("{}.startsWith('a')", [])],
    "endsWith": [("'abc'.endsWith('a')", [False])],
    "upper": [("'a'.upper()", ["A"])],
    "lower": [("'A'.lower()", ["a"])],
    "replace": [("'abab'.replace('b', '')", ["aa"])],
    "matches": [("'abc'.matches('^a.c$')", [True]), ("{}.matches('a')", [])],
    "replaceMatches": [("'a1b2'.replaceMatches('[0-9]', '-')", ["a-b-"])],
    "length": [("'abc'.length()", [3])],
    "toChars": [("'ab'.toChars()", ["a", "b"])],
    "abs": [("(-5).abs()", [5])],
    "ceiling": [("1.1.ceiling()", [2])],
    "floor": [("(-1.1).floor()", [-2])],
    "truncate": [("(-1.9).truncate()", [-1])],
    "round": [("1.005.round(2)", [Decimal("1.01")]), ("2.5.round()", [3])],
    "exp": [("0.exp()", [Decimal(1)])],
    "ln": [("1.ln()", [Decimal(0)]), ("0.ln()", [])],
    "log": [("8.log(2)", [Decimal(3)])],
    "power": [("2.power(10)", [1024]), ("(-1).power(0.5)", [])],
    "sqrt": [("4.sqrt()", [Decimal(2)]), ("(-1).sqrt()", [])],
    "children": [("name[0].children().count()", [3])],
    "descendants": [("contained.descendants().count()", [2])],
    "trace": [("name.family.trace('n')", ["Curie"])],
    "now": [("now() > @2020-01-01T00:00:00Z", [True])],
    "today": [("birthDate < today()", [True])],
    "timeOfDay": [("timeOfDay() >= @T00:00:00", [True])],
    "aggregate": [("(1 | 2 | 3).aggregate($this + $total, 0)", [6]),
                  ("(3 | 1).aggregate(iif($total.empty() or $this < $total, $this, $total))", [1]),
                  ("(5 | 7).aggregate($total + $index, 0)", [1])],
    "extension": [("birthDate.extension('u').value", ["x"]), ("extension('u')", [])],
    "hasValue": [("birthDate.hasValue()", [True]), ("name.hasValue()", [False])],
    "getValue": [("birthDate.getValue()", ["1970-01-31"])],
    "resolve": [("managingOrganization.resolve().name", ["N"])],
    "memberOf": [("gender.memberOf('http://vs')", []), ("active.memberOf('http://vs')", [True])],
    "conformsTo": [("name.first().conformsTo('http://p')", [True])],
    # variables
    "$this": [("name.given.where($this = 'Salomea')", ["Salomea"])],
    "$index": [("name.given.select($index)", [0, 1, 2]), ("name.select(given.select($index) | $index)", [0, 1, 0, 1])],
    "$total": [("name.given.aggregate($total & $this, '')", ["MarieSalomeaMarie"])],
    "%context": [("name.where(%context.active)[0].family", ["Curie"])],
    "%resource": [("name.select(%resource.id).first()", ["p"])],
    "%rootResource": [("%rootResource.id", ["p"])],
    "%ucum": [("%ucum", ["http://unitsofmeasure.org"])],
    "%sct": [("%sct", ["http://snomed.info/sct"])],
    "%loinc": [("%loinc", ["http://loinc.org"])],
    "%vs-[name]": [("%vs-administrative-gender", ["http://hl7.org/fhir/ValueSet/administrative-gender"])],
    "%ext-[name]": [("%`ext-patient-birthTime`", ["http://hl7.org/fhir/StructureDefinition/patient-birthTime"])],
}  # fmt: skip
TABLES = coverage.FUNCTIONS | coverage.OPERATORS | coverage.VARIABLES


class Everything(NoServices):
    def resolve(self, reference: Any) -> dict[str, Any] | None:
        return PATIENT["contained"][0] if reference == {"reference": "#o"} else None

    def member_of(self, value: Any, value_set: str) -> bool:
        return True

    def conforms_to(self, value: Any, profile: str) -> bool:
        return True


ENVIRONMENT = Environment(PATIENT, PATIENT, PATIENT, Everything())


def test_the_table_lists_all_functions_operators_and_variables_of_the_specification() -> None:
    assert set(coverage.FUNCTIONS) - {"hasExtension"} == {*N1_FUNCTIONS, *R4_FUNCTIONS}
    assert set(coverage.OPERATORS) == set(N1_OPERATORS) >= set(PRECEDENCE)
    assert set(coverage.VARIABLES) == set(R4_VARIABLES) >= set(VARIABLES)


def test_the_table_lists_all_that_is_implemented() -> None:
    native = {*functions.FUNCTIONS, *functions.LAMBDAS, *operators.LOGICAL, *operators.ARITHMETIC}
    assert native <= {name for name, found in TABLES.items() if found.support in ("native", "partial")}


def test_everything_that_is_not_native_has_a_reason() -> None:
    assert all(bool(found.reason) is (found.support != "native") for found in TABLES.values())


# hasExtension is native in the criteria of search expressions only: tests/fhirpath/test_search_expressions.py
@pytest.mark.parametrize(
    "name", [n for n, c in TABLES.items() if c.support in ("native", "partial") and n != "hasExtension"]
)
def test_a_native_function_operator_or_variable_evaluates(name: str, core: Definitions) -> None:
    for expression, expected in EXAMPLES[name]:
        evaluate = compile_expression(core, parse(expression), "Patient").evaluate
        found = evaluate(PATIENT, ENVIRONMENT)
        assert found == expected, expression
        assert [type(value) is bool for value in found] == [type(value) is bool for value in expected], expression


@pytest.mark.parametrize("name", [n for n, c in coverage.FUNCTIONS.items() if c.support == "library"])
def test_a_function_of_the_library_evaluates(name: str, core: Definitions) -> None:
    expression = parse(f"name.{name}().exists()")
    with pytest.raises(Unsupported):
        compile_native_predicate(core, expression, "Patient")
    assert library_predicate(core, expression, "Patient")(PATIENT, ENVIRONMENT) is True


@pytest.mark.parametrize("name", [n for n, c in coverage.FUNCTIONS.items() if c.support == "missing"])
def test_a_missing_function_is_refused_with_the_reason(name: str, core: Definitions) -> None:
    with pytest.raises(ValueError, match=rf"{name}\(\) is not supported: ") as e:
        compile_predicate(core, f"name.{name}('a')", "Patient")
    assert coverage.FUNCTIONS[name].reason in str(e.value)


@pytest.mark.parametrize(
    "expression",
    ["name.given.single()", "name.family + 1", "name.length()", "active * 2", "name.given.startsWith('a')"],
)
def test_what_fhirpath_calls_an_error_raises_value_error(expression: str, core: Definitions) -> None:
    evaluate = compile_expression(core, parse(expression), "Patient").evaluate
    with pytest.raises(ValueError, match=r"need|found"):
        evaluate(PATIENT, ENVIRONMENT)


def test_a_type_test_of_values_of_any_type_is_evaluated_by_the_library(core: Definitions) -> None:
    expression = "descendants().where($this is HumanName).exists()"
    with pytest.raises(Unsupported):
        compile_native_predicate(core, parse(expression), "Patient")
    assert compile_predicate(core, expression, "Patient")(PATIENT, ENVIRONMENT) is True


def test_without_services_terminology_and_profiles_cannot_be_decided(core: Definitions) -> None:
    env = Environment(PATIENT, PATIENT, PATIENT, NoServices())
    for expression in ("active.memberOf('http://vs')", "conformsTo('http://p')"):
        with pytest.raises(ValueError, match="available here"):
            compile_predicate(core, expression, "Patient")(PATIENT, env)
    assert compile_predicate(core, "managingOrganization.resolve().exists()", "Patient")(PATIENT, env) is False
