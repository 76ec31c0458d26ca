"""Reference parameters: https://hl7.org/fhir/R4/search.html#reference."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.model.conditions import Condition, Reference
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.messages import Message
from fhirstore.search import token
from fhirstore.search.syntax import SearchContext, unescape
from fhirstore.search.uri import forms

IDENTIFIER = ":identifier"
"""The identifiers of a reference parameter are indexed as a token parameter of their own, <code>:identifier."""

_PRESENT: IndexEntry = ("",)
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_LOCAL = re.compile(r"([A-Z][A-Za-z]*)/([A-Za-z0-9\-.]{1,64})")
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")


def entries(values: Sequence[Typed], base: str | None) -> list[IndexEntry]:
    """(target,) of each reference, without version; canonicals with and without theirs. A reference that names no
    target (only an identifier, or a contained resource) gives ("",)."""
    out: list[IndexEntry] = []
    for type, value in values:
        text = value.get("reference") if isinstance(value, dict) else value
        if isinstance(text, str) and text and text[0] != "#":
            out += [(form,) for form in forms(type, text)] if type == "canonical" else [(local(text, base),)]
    return out or [_PRESENT]


def identifiers(values: Sequence[Typed]) -> list[Typed]:
    """The logical references (Reference.identifier) among the values."""
    return [("Identifier", v["identifier"]) for type, v in values if type == "Reference" and "identifier" in v]


def local(text: str, base: str | None) -> str:
    """A reference without version, and without the server's own base."""
    if base is not None and text.startswith(base) and text[len(base) : len(base) + 1] == "/":
        text = text[len(base) + 1 :]
    return text.partition("/_history/")[0]


def alternatives(
    context: SearchContext, type: str, param: SearchParam, modifier: str | None, values: Sequence[str]
) -> Sequence[Condition]:
    """`id` (of any allowed type), `Type/id`, a URL or canonical; `:Type` says the type of an `id`."""
    if modifier == IDENTIFIER[1:]:
        return token.identifier_alternatives(param.code + IDENTIFIER, values)
    types = (modifier,) if modifier else param.targets or tuple(sorted(context.registry.catalog.core.resource_types))
    targets = tuple(t for value in values for t in _targets(context, unescape(value), modifier, types))
    return [Reference(param.code, targets)]


def _targets(context: SearchContext, value: str, modifier: str | None, types: Sequence[str]) -> list[str]:
    value = local(value, context.base)
    if match := _LOCAL.fullmatch(value):
        if modifier not in (None, match[1]):
            raise ValueError(
                Message(
                    "{value} is not a {modifier}. Use the id alone, or {modifier}/id",
                    value=repr(value),
                    modifier=modifier,
                )
            )
        return [value]
    if _ID.fullmatch(value):
        return [f"{type}/{value}" for type in types]
    if _ABSOLUTE.fullmatch(value) and modifier is None:
        return [value]
    raise ValueError(Message("{value} is not a reference. Use id, Type/id or an absolute URL", value=repr(value[:100])))
