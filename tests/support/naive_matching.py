"""Whether a value matches a parameter value, and what sorts compare, by a naive reading of the specification."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

Resource = dict[str, Any]
Keys = Callable[[Resource], list[Any]]


def unaccented(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text.casefold()) if not unicodedata.combining(c))


def span(text: str) -> tuple[date, date]:
    """The first day, and the day after the last one."""
    year, *rest = (int(part) for part in text.split("-"))
    if not rest:
        return date(year, 1, 1), date(year + 1, 1, 1)
    if len(rest) == 1:
        return date(year, rest[0], 1), date(year + rest[0] // 12, rest[0] % 12 + 1, 1)
    return date(year, *rest), date(year, *rest) + timedelta(1)


def date_fits(prefix: str, search: tuple[date, date], low: date, high: date) -> bool:
    within = search[0] <= low and high <= search[1]
    after, before = high > search[1], low < search[0]
    return {
        "": within,
        "eq": within,
        "ne": not within,
        "gt": after,
        "lt": before,
        "ge": after or within,
        "le": before or within,
        "sa": low >= search[1],
        "eb": high <= search[0],
    }[prefix]


def number_fits(prefix: str, text: str, value: Decimal) -> bool:
    asked = Decimal(text)
    half = Decimal(1).scaleb(int(asked.as_tuple().exponent)) / 2
    equal = asked - half <= value < asked + half
    return {
        "": equal,
        "eq": equal,
        "ne": not equal,
        "gt": value > asked,
        "sa": value > asked,
        "lt": value < asked,
        "eb": value < asked,
        "ge": value >= asked,
        "le": value <= asked,
    }[prefix]


def _spans(resource: Resource) -> list[date]:
    """When an observation begins."""
    period = resource.get("effectivePeriod", {})
    if "effectiveDateTime" in resource:
        return [span(resource["effectiveDateTime"])[0]]
    return [span(period["start"])[0] if "start" in period else date.min] if period else []


PATIENT_KEYS: dict[str, Keys] = {
    "family": lambda r: [unaccented(name["family"]) for name in r.get("name", ())],
    "birthdate": lambda r: [span(r["birthDate"])[0]] if "birthDate" in r else [],
    "gender": lambda r: [r["gender"]] if "gender" in r else [],
    "identifier": lambda r: [one["value"] for one in r.get("identifier", ())],
    "general-practitioner": lambda r: [one["reference"] for one in r.get("generalPractitioner", ())],
}
OBSERVATION_KEYS: dict[str, Keys] = {
    "code": lambda r: [one["code"] for one in r.get("code", {}).get("coding", ())],
    "date": _spans,
    "subject": lambda r: [r["subject"]["reference"]] if "subject" in r else [],
    "value-quantity": lambda r: [r["valueQuantity"]["value"]] if "valueQuantity" in r else [],
}
RISK_KEYS: dict[str, Keys] = {
    "probability": lambda r: [one["probabilityDecimal"] for one in r.get("prediction", ())],
    "subject": lambda r: [r["subject"]["reference"]] if "subject" in r else [],
}
VALUE_SET_KEYS: dict[str, Keys] = {"url": lambda r: [r["url"]] if "url" in r else []}
