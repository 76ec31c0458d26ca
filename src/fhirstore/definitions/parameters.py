"""Parses SearchParameter resources: https://hl7.org/fhir/R4/searchparameter.html."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.definitions.model import SearchParameterDef


def read_search_parameter(resource: Mapping[str, Any]) -> SearchParameterDef:
    """The definition in a SearchParameter resource; its expression is "" if absent.

    Raises ValueError, which names the key, if a mandatory element is missing or has the wrong type."""
    return SearchParameterDef(
        url=_text(resource, "url"),
        code=_text(resource, "code"),
        name=_text(resource, "name"),
        type=_text(resource, "type"),
        bases=_texts(resource, "base", required=True),
        expression=_text(resource, "expression", default=""),
        targets=_texts(resource, "target"),
        components=tuple(
            (_text(c, "definition", "component."), _text(c, "expression", "component."))
            for c in _list(resource, "component", dict)
        ),
        description=_text(resource, "description", default=""),
        comparators=_texts(resource, "comparator"),
        modifiers=_texts(resource, "modifier"),
        multiple_or=resource.get("multipleOr", True) is True,
        multiple_and=resource.get("multipleAnd", True) is True,
    )


def _text(resource: Mapping[str, Any], key: str, where: str = "", default: str | None = None) -> str:
    value = resource.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{where}{key}: a string is required, found {value!r}")
    return value


def _list(resource: Mapping[str, Any], key: str, kind: type, required: bool = False) -> list[Any]:
    value = resource.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, kind) for v in value) or (required and not value):
        raise ValueError(f"{key}: an array is required, found {value!r}")
    return value


def _texts(resource: Mapping[str, Any], key: str, required: bool = False) -> tuple[str, ...]:
    return tuple(_list(resource, key, str, required))
