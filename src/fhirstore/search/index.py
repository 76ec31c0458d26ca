"""Index extraction: the entries that a resource has for each search parameter.

https://hl7.org/fhir/R4/search.html#ptypes. Entries have the shapes of `model.indexing`; the conditions of `values` and
`numbers` compare them. Runs on every write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from fhirstore.capability.registry import SearchParam, Typed
from fhirstore.formats.text import fold
from fhirstore.model.conditions import MAX_TIME, MIN_TIME
from fhirstore.model.indexing import IndexEntry
from fhirstore.search.numbers import number_key
from fhirstore.search.values import IDENTIFIER, date_interval, local_reference

VERSION = "1"
"""Changes when the entries of a value change. All resources must then be reindexed."""

EntriesOf = Callable[[Sequence[Typed], tzinfo, str | None], list[IndexEntry]]
"""(values of one kind, zone, base) -> their entries"""


def extract(
    params: Mapping[str, SearchParam], resource: dict[str, Any], zone: tzinfo = UTC, base: str | None = None
) -> dict[str, list[IndexEntry]]:
    """Entries by parameter code, each entry once. Parameters without a value are omitted.

    zone: completes times without an offset. base: the base URL of the server without a trailing slash, which references
    lose. A value that does not have its type (stored with validation off) gives no entry."""
    present = set(resource)
    found: list[tuple[str, str, list[Typed]]] = []
    for code, param in params.items():
        if param.properties is None or not param.properties.isdisjoint(present):
            found.append((code, param.type, param.extract(resource)))
    out: dict[str, list[IndexEntry]] = {}
    for code, kind, values in found:
        if not values or kind not in KINDS:
            continue
        if entries := _entries(kind, values, zone, base):
            out[code] = entries
        if kind == "reference":
            named: list[Typed] = [
                ("Identifier", v["identifier"]) for type, v in values if type == "Reference" and "identifier" in v
            ]
            if named and (entries := _entries("token", named, zone, base)):
                out[code + IDENTIFIER] = entries
    return out


def _entries(kind: str, values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    try:
        found = KINDS[kind](values, zone, base)
        return found if len(found) < 2 else list(dict.fromkeys(found))
    except (AttributeError, TypeError, ValueError, ArithmeticError):
        # A value does not have its type: keep the entries of the other values.
        if len(values) == 1:
            return []
        return list(dict.fromkeys(entry for value in values for entry in _entries(kind, (value,), zone, base)))


# --- tokens, strings, URIs ----------------------------------------------------------------------------

_CODE_MEMBERS = {"Coding": "code", "Identifier": "value", "ContactPoint": "value"}
_TEXT_MEMBERS = {
    "HumanName": ("family", "given", "text", "prefix", "suffix"),
    "Address": ("text", "line", "city", "district", "state", "postalCode", "country"),
    "ContactPoint": ("value",),
    "Identifier": ("value",),
    "Annotation": ("text",),
}


def _tokens(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(system, code) of each coding, identifier, contact point, code…; a value that has neither gives ("", "")."""
    out: list[IndexEntry] = []
    for type, value in values:
        if type == "CodeableConcept":
            out += [_coding(coding, "code") for coding in value.get("coding", ())]
        elif type in _CODE_MEMBERS:
            out.append(_coding(value, _CODE_MEMBERS[type]))
        elif isinstance(value, str):
            out.append(("", value))
        elif isinstance(value, bool):
            out.append(("", "true" if value else "false"))
        elif isinstance(value, int):
            out.append(("", str(value)))
    return out or [("", "")]


def _coding(value: dict[str, Any], member: str) -> IndexEntry:
    system, code = value.get("system"), value.get(member)
    return (system if isinstance(system, str) else "", code if isinstance(code, str) else "")


def _strings(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(folded, as sent) of each text; names and addresses give one for each of their parts."""
    texts: list[str] = []
    for type, value in values:
        if isinstance(value, str):
            texts.append(value)
            continue
        for member in _TEXT_MEMBERS.get(type, ()):
            found = value.get(member)
            texts += [text for text in (found if isinstance(found, list) else (found,)) if isinstance(text, str)]
    # `fold` does the same with ASCII; most texts are, and a write has many of them.
    return [(" ".join(text.lower().split()) if text.isascii() else fold(text), text) for text in texts]


def _uris(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(uri,) as sent; a canonical with a version also without it."""
    return [(form,) for type, value in values if isinstance(value, str) for form in _forms(type, value)]


def _forms(type: str, value: str) -> tuple[str, ...]:
    """The texts under which a uri or canonical is found."""
    if type == "canonical" and "|" in value:
        return value, value.partition("|")[0]
    return (value,)


# --- references ---------------------------------------------------------------------------------------


def _references(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(target,) of each reference, without version; canonicals with and without theirs. A reference that names no
    target (only an identifier, or a contained resource) gives ("",)."""
    out: list[IndexEntry] = []
    for type, value in values:
        text = value.get("reference") if isinstance(value, dict) else value
        if isinstance(text, str) and text and text[0] != "#":
            if type == "canonical":
                out += [(form,) for form in _forms(type, text)]
            else:
                out.append((local_reference(text, base),))
    return out or [("",)]


# --- numbers and quantities ---------------------------------------------------------------------------

_CURRENCIES = "urn:iso:std:iso:4217"


def _numbers(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(key,) of each number; a Range gives its two ends, a quantity its value."""
    return [(key,) for _, value in values for key in _keys(value)]


def _quantities(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """(key, system, code, unit) of each quantity or amount of money; a Range gives its two ends."""
    return [(key, *unit) for type, value in values for part, unit in _units(type, value) for key in _keys(part)]


def _keys(value: Any) -> list[str]:
    """The order-preserving texts of a number, or of the numbers in a quantity or range."""
    if isinstance(value, dict):
        ends = (value.get("value"), *(end.get("value") for end in (value.get("low"), value.get("high")) if end))
        return [key for end in ends if end is not None for key in _keys(end)]
    if isinstance(value, Decimal):
        return [number_key(value)]
    return [number_key(Decimal(value))] if type(value) is int else []


def _units(type: str, value: Any) -> list[tuple[Any, tuple[str, str, str]]]:
    if not isinstance(value, dict):
        return [(value, ("", "", ""))]
    if type == "Money":
        return [(value, (_CURRENCIES, value.get("currency", ""), ""))]
    if type == "Range":
        return [pair for end in (value.get("low"), value.get("high")) if end for pair in _units("Quantity", end)]
    return [(value, (value.get("system", ""), value.get("code", ""), value.get("unit", "")))]


# --- dates --------------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _dates(values: Sequence[Typed], zone: tzinfo, base: str | None) -> list[IndexEntry]:
    """[low, high) of each value: an instant is a point, an open end of a Period never ends, of a Timing only the
    outer limits count."""
    out: list[IndexEntry] = []
    for type, value in values:
        if type == "instant":
            low = _point(value, zone)
            out.append((low, low + 1))
        elif isinstance(value, str):
            out.append(date_interval(value, zone))
        elif type == "Timing":
            out += _timing(value, zone)
        elif type == "Period":
            out += _period(value, zone)
    return out


def _point(text: str, zone: tzinfo) -> int:
    try:
        since = datetime.fromisoformat(text) - _EPOCH
    except (ValueError, TypeError):  # second 60, or no offset
        return date_interval(text, zone)[0]
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _period(value: dict[str, Any], zone: tzinfo) -> list[IndexEntry]:
    start, end = value.get("start"), value.get("end")
    if start is None and end is None:
        return []
    low = MIN_TIME if start is None else date_interval(start, zone)[0]
    high = MAX_TIME if end is None else date_interval(end, zone)[1]
    return [(low, max(high, low + 1))]


def _timing(value: dict[str, Any], zone: tzinfo) -> list[IndexEntry]:
    limits: list[IndexEntry] = [date_interval(event, zone) for event in value.get("event", ())]
    limits += _period(value.get("repeat", {}).get("boundsPeriod", {}), zone)
    return [(min(low for low, _ in limits), max(high for _, high in limits))] if limits else []


KINDS: Mapping[str, EntriesOf] = {
    "token": _tokens,
    "string": _strings,
    "uri": _uris,
    "number": _numbers,
    "quantity": _quantities,
    "date": _dates,
    "reference": _references,
}
"""By type of search parameter, all that the server supports."""
