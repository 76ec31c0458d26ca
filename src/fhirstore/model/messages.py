"""Texts for clients that can be rendered in several languages.

A `Message` is its English text, so it can be logged, compared and printed like any string. It also carries its template
and the parameters of the template, which is all that a translation needs: see `fhirstore.messages.translations`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

_set = object.__setattr__

Parameter = str | int | tuple[Any, ...]
"""The value of a field. A `Message` is translated along with the message that contains it, and so is each item of a
tuple; the items are joined by ", "."""


class Message(str):
    """An English text with its template and parameters.

    >>> Message("The id {given} is not a string.", given=repr(3))
    'The id 3 is not a string.'

    The template is a literal, because the messages to translate are extracted from the source: `make messages`. A brace
    that is no field is doubled, as in `str.format`. Fields have names and neither conversion nor format:
    pass `repr(value)` instead of writing `{value!r}`. A parameter can be:

    - a string or a number,
    - another `Message`,
    - an exception, which stands for its text (and for its `Message`, if it was raised with one),
    - a list or a tuple of these, joined by ", ",
    - any other object, which stands for `str(object)`.

    Messages are immutable, can be pickled, and compare and hash as their English texts. Operations of `str` return
    plain strings, which are not translated: combine messages by passing them as parameters of another one.
    """

    __slots__ = ("_is_sentence", "_parameters", "_plural_template", "_template")

    _template: str
    _plural_template: str | None
    _parameters: dict[str, Parameter]
    _is_sentence: bool

    def __new__(cls, template: str, /, **parameters: object) -> Message:
        """Raises KeyError if the template has a field without a parameter."""
        return _make(template, None, parameters)

    @classmethod
    def plural(cls, singular: str, plural: str, /, count: int, **parameters: object) -> Message:
        """A message that depends on a number: `singular` is its template if `count` is 1, `plural` otherwise. Other
        languages choose among the forms of their catalogue. Both templates can use {count}."""
        return _make(singular, plural, {"count": count, **parameters})

    @property
    def template(self) -> str:
        """The id of the message: its English text with the names of its fields in braces."""
        return self._template

    @property
    def plural_template(self) -> str | None:
        """The template of the English plural, None for a message that does not depend on a number."""
        return self._plural_template

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The values of the fields. A message with a plural has the number as `count`."""
        return MappingProxyType(self._parameters)

    def as_sentence(self) -> Message:
        """The message with a capital at its beginning and a full stop at its end, in all languages."""
        return _make(self._template, self._plural_template, self._parameters, is_sentence=True)

    def render(self, translate: Callable[[Message], str]) -> str:
        """The text in another language.

        translate: returns the template to use, with the fields of `template` or some of them."""
        shown = {name: _rendered(value, translate) for name, value in self._parameters.items()}
        text = translate(self).format(**shown)
        return _sentence(text) if self._is_sentence else text

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Message is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Message is immutable: {name} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self._template, self._plural_template, self._parameters, self._is_sentence)


_PLAIN = (str, int, Message)


def _make(template: str, plural: str | None, parameters: Mapping[str, object], is_sentence: bool = False) -> Message:
    values: Any = parameters
    shown: Any = parameters
    for value in parameters.values():
        if type(value) not in _PLAIN:
            values = {name: _parameter(value) for name, value in parameters.items()}
            shown = {name: _joined(value) for name, value in values.items()}
            break
    chosen = template if plural is None or values["count"] == 1 else plural
    text = chosen.format_map(shown)
    message = str.__new__(Message, _sentence(text) if is_sentence else text)
    _set(message, "_template", template)
    _set(message, "_plural_template", plural)
    _set(message, "_parameters", values)
    _set(message, "_is_sentence", is_sentence)
    return message


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _parameter(value: object) -> Parameter:
    if isinstance(value, str | int):
        return value
    if isinstance(value, list | tuple):
        return tuple(map(_parameter, value))
    return text_of(value) if isinstance(value, BaseException) else str(value)


def _joined(value: Parameter) -> str | int:
    return ", ".join(map(str, map(_joined, value))) if isinstance(value, tuple) else value


def _rendered(value: Parameter, translate: Callable[[Message], str]) -> str | int:
    if isinstance(value, Message):
        return value.render(translate)
    if isinstance(value, tuple):
        return ", ".join(str(_rendered(item, translate)) for item in value)
    return value


def text_of(exception: BaseException) -> str:
    """The `Message` that an exception was raised with, or else its text. `str(exception)` is never a `Message`."""
    if len(exception.args) == 1 and isinstance(exception.args[0], Message):
        return exception.args[0]
    return str(exception)


def series(items: Iterable[str]) -> Message | str:
    """The items as "a; b; c"; "" if there are none."""
    joined: list[str] = list(items)
    while len(joined) > 1:  # in pairs: each round copies the text once, and messages are not deeply nested
        pairs = zip(joined[::2], joined[1::2], strict=False)
        odd = joined[-1:] if len(joined) % 2 else []
        joined = [*(Message("{items}; {next}", items=first, next=second) for first, second in pairs), *odd]
    return joined[0] if joined else ""


def conjunction(items: Iterable[object]) -> Message | str:
    """The items as "a, b and c"; "" if there are none."""
    *first, last = list(items) or [""]
    return Message("{items} and {last}", items=first, last=last) if first else _alone(last)


def disjunction(items: Iterable[object]) -> Message | str:
    """The items as "a, b or c"; "" if there are none."""
    *first, last = list(items) or [""]
    return Message("{items} or {last}", items=first, last=last) if first else _alone(last)


def _alone(item: object) -> str:
    return item if isinstance(item, str) else str(item)
