"""Messages: English texts that keep their template and parameters."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.model.messages import Message, conjunction, disjunction, series, text_of


def in_capitals(message: Message) -> str:
    """A translation of every template: itself between signs that tell its depth."""
    return f"<{message.template}>"


def test_a_message_is_its_english_text() -> None:
    message = Message("The id {given} is not a string; at most {limit}.", given=repr(3), limit=64)
    assert message == "The id 3 is not a string; at most 64."
    assert hash(message) == hash(str(message))
    assert f"{message}" == str(message)
    assert type(str(message)) is str


def test_it_keeps_its_template_and_parameters() -> None:
    message = Message("The id {given} is not a string.", given="'a'")
    assert message.template == "The id {given} is not a string."
    assert message.parameters == {"given": "'a'"}
    assert message.plural_template is None


def test_a_brace_that_is_no_field_is_doubled() -> None:
    assert Message("The object {{}} is empty.") == "The object {} is empty."


def test_braces_in_parameters_stay() -> None:
    message = Message("not {given}", given="{x} {0}")
    assert message == "not {x} {0}"
    assert message.render(in_capitals) == "<not {x} {0}>"


def test_a_field_without_parameter_is_refused() -> None:
    with pytest.raises(KeyError):
        Message("The id {given} is not a string.")


def test_messages_inside_of_messages_are_rendered_too() -> None:
    inner = Message("the string {given}", given="'x'")
    outer = Message("{what} is not {wanted}", what=inner, wanted=["a", Message("b {n}", n=1)])
    assert outer == "the string 'x' is not a, b 1"
    assert outer.render(in_capitals) == "<<the string 'x'> is not a, <b 1>>"


def test_an_exception_stands_for_its_message() -> None:
    outer = Message("Not a date: {reason}.", reason=ValueError(Message("day {day}", day=32)))
    assert outer == "Not a date: day 32."
    assert outer.render(in_capitals) == "<Not a date: <day 32>.>"
    assert Message("Not a date: {reason}.", reason=ValueError("a", 1)) == "Not a date: ('a', 1)."


def test_the_text_of_an_exception_is_its_message() -> None:
    message = Message("day {day}", day=32)
    assert text_of(ValueError(message)) is message
    assert text_of(KeyError("a")) == "'a'"
    assert text_of(ValueError(message, 1)) == str(ValueError(message, 1))


@pytest.mark.parametrize(
    ("template", "sentence"), [("a day", "A day."), ("A day.", "A day."), ("when?", "When?"), ("", ".")]
)
def test_a_message_can_become_a_sentence(template: str, sentence: str) -> None:
    message = Message(template).as_sentence()
    assert message == sentence
    assert message.render(lambda m: m.template) == sentence
    assert pickle.loads(pickle.dumps(message)).render(lambda m: m.template) == sentence


def test_other_parameters_stand_for_their_text() -> None:
    message = Message("{a} {b} {c}", a=None, b=1.5, c={"x"})
    assert message == "None 1.5 {'x'}"
    assert message.parameters == {"a": "None", "b": "1.5", "c": "{'x'}"}


@pytest.mark.parametrize(("count", "text"), [(0, "0 values in a"), (1, "1 value in a"), (2, "2 values in a")])
def test_a_plural_depends_on_its_count(count: int, text: str) -> None:
    message = Message.plural("{count} value in {place}", "{count} values in {place}", count, place="a")
    assert message == text
    assert (message.template, message.plural_template) == ("{count} value in {place}", "{count} values in {place}")
    assert message.parameters == {"count": count, "place": "a"}


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_messages_too(clone: object) -> None:
    inner = Message.plural("{count} value", "{count} values", 2)
    message = Message("{what} in {places}", what=inner, places=["a", "b"])
    copied = clone(message)  # type: ignore[operator]
    assert (copied, type(copied)) == (message, Message)
    assert copied.render(in_capitals) == message.render(in_capitals) == f"<<{2} value> in a, b>"


@pytest.mark.parametrize("name", ["template", "_template", "_parameters", "other"])
def test_messages_are_immutable(name: str) -> None:
    message = Message("a")
    with pytest.raises(AttributeError):
        setattr(message, name, "b")
    with pytest.raises(AttributeError):
        delattr(message, name)
    with pytest.raises(TypeError):
        message.parameters["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("items", "both", "either"),
    [([], "", ""), (["a"], "a", "a"), (["a", "b"], "a and b", "a or b"), (["a", "b", "c"], "a, b and c", "a, b or c")],
)
def test_items_are_joined_by_and_or_or(items: list[str], both: str, either: str) -> None:
    assert (conjunction(items), disjunction(iter(items))) == (both, either)


def test_a_series_is_joined_by_semicolons() -> None:
    assert [series([]), series(["a"]), series(iter(["a", "b", "c"]))] == ["", "a", "a; b; c"]
    assert series(["a", Message("b")]).render(in_capitals) == "<a; <b>>"  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [5, 4_000])
def test_a_series_of_any_length_is_joined_and_rendered(count: int) -> None:
    """A message in a message for each item would take quadratic time, and could not be rendered."""
    items = [str(n) for n in range(count)]
    joined = series(items)
    assert joined == "; ".join(items)
    assert isinstance(joined, Message)
    assert joined.render(lambda message: message.template) == "; ".join(items)


@given(st.text(), st.integers(), st.lists(st.text(), max_size=3))
def test_rendering_by_the_own_template_gives_the_english_text(text: str, number: int, items: list[str]) -> None:
    message = Message("a {text} b {number} c {items}", text=text, number=number, items=items)
    assert message.render(lambda m: m.template) == message
