from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.fhirpath.ast import (
    EmptyLiteral,
    FunctionCall,
    Indexer,
    Literal,
    Member,
    OperatorExpression,
    QuantityLiteral,
    TemporalLiteral,
    TypeExpression,
    Variable,
)
from fhirstore.fhirpath.parser import parse


def test_a_path_is_nested_names_each_with_its_source() -> None:
    tree = parse("Patient.name . given")
    assert isinstance(tree, Member)
    assert (tree.name, tree.text) == ("given", "Patient.name . given")
    assert tree.target == Member("Patient.name", Member("Patient", None, "Patient"), "name")


def test_both_spellings_of_as_and_of_type_are_one() -> None:
    trees = [parse(t) for t in ("(a.b as Quantity)", "a.b.as(Quantity)", "a.b.ofType(FHIR.Quantity)")]
    assert all(isinstance(t, TypeExpression) and (t.operator, t.type) == ("as", "Quantity") for t in trees)


def test_words_of_the_grammar_may_be_element_names() -> None:
    tree = parse("ValueSet.expansion.contains.is")
    assert isinstance(tree, Member)
    assert tree.name == "is"
    assert parse("text.`div`") == Member("text.`div`", Member("text", None, "text"), "div")


@pytest.mark.parametrize(
    ("text", "loosest"),
    [
        ("a | b = c", "="),
        ("a = b and c = d", "and"),
        ("a and b or c", "or"),
        ("a or b implies c", "implies"),
        ("a + b * c", "+"),
        ("a * b + c", "+"),
        ("a | b as T", "|"),
        ("a in b and c", "and"),
        ("-a + b", "+"),
    ],
)
def test_precedence(text: str, loosest: str) -> None:
    tree = parse(text)
    assert isinstance(tree, OperatorExpression)
    assert tree.operator == loosest


def test_operators_of_one_rank_group_to_the_left() -> None:
    tree = parse("a - b - c")
    assert isinstance(tree, OperatorExpression)
    assert tree.left is not None
    assert tree.left.text == "a - b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'it\\'s \\u00e9'", "it's é"),
        ("true", True),
        ("12", 12),
        ("1.50", Decimal("1.50")),
    ],
)
def test_literals(text: str, value: Any) -> None:
    assert parse(text) == Literal(text, value)


def test_dates_quantities_and_the_empty_collection_are_literals() -> None:
    assert parse("@2020-01-01") == TemporalLiteral("@2020-01-01", "2020-01-01", "date")
    text = "@2020-01-01T10:00:00+02:00"
    assert parse(text) == TemporalLiteral(text, "2020-01-01T10:00:00+02:00", "dateTime")
    assert parse("@T10:00") == TemporalLiteral("@T10:00", "10:00", "time")
    assert parse("4 'mg'") == QuantityLiteral("4 'mg'", 4, "mg")
    assert parse("1.5 years") == QuantityLiteral("1.5 years", Decimal("1.5"), "year")
    assert parse("{}") == EmptyLiteral("{}")


@pytest.mark.parametrize("text", ["%vs-gender", "%'vs-gender'", "%`vs-gender`", '%"vs-gender"'])
def test_the_name_of_a_variable_may_be_quoted(text: str) -> None:
    assert parse(text) == Variable(text, "%vs-gender")


def test_calls_indexes_and_variables() -> None:
    tree = parse("%resource.a.where($this = 1)[0]")
    assert isinstance(tree, Indexer)
    assert isinstance(tree.target, FunctionCall)
    (criteria,) = tree.target.arguments
    assert isinstance(criteria, OperatorExpression)
    assert criteria.left == Variable("$this", "$this")


def test_comments_and_line_breaks_are_skipped() -> None:
    assert parse("a // the first\n | /* and */ b").text.startswith("a")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a name is expected, found its end at character 1"),
        ("a.", "a name is expected, found its end at character 3"),
        ("a b", "the expression should end here, found 'b' at character 3"),
        ("a.where(b", "',' is expected, found its end"),
        ("(a", "')' is expected"),
        ("a)", "the expression should end here, found ')'"),
        ("a as", "a type name is expected"),
        ("a[0", "']' is expected"),
        ("a = 'open", 'unexpected "\'" at character 5'),
        ("a ?? b", "unexpected '?' at character 3"),
        ("a | | b", "a name is expected, found '|'"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as e:  # noqa: PT011 - the text is compared below
        parse(text)
    assert str(e.value).startswith(repr(text))
    assert expected in str(e.value)


@given(st.text("ab. '()[]|=as@%$1{}\\`", max_size=20))
def test_any_text_is_read_or_refused_with_value_error(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a" * 10_001, "at most 10000 characters"),
        ("(" * 4_000 + "a" + ")" * 4_000, "nested too deeply"),
        ("-" * 9_000 + "1", "nested too deeply"),
        ("a /* b", "unexpected '/' at character 3"),
        ("/* " * 3_000, "unexpected '/' at character 1"),
    ],
)
def test_what_would_take_long_is_refused(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(source)
