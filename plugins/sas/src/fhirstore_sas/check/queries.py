"""The searches that the platform sends, and equivalent requests (SPEC §3, §4, §20)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from fhirstore_sas.names import IDNPS_SYSTEM, IDNST_SYSTEM
from fhirstore_sas.searches import CPTS, CPTS_INCLUDE, PLACE_CHAIN, PRACTITIONER_CHAIN, SLOT_CRITERIA, SOS, Mode

PARIS = ZoneInfo("Europe/Paris")
DAYS = 2
"""Days after today: the window of the kit ends with the day after tomorrow."""

Params = list[tuple[str, str]]
Bound = Callable[[datetime], str]


@dataclass(frozen=True)
class PlatformSearch:
    """mode: PS, CPTS or SOS. ids: of practitioners or associations, as sent. start, end: bounds, in Paris time."""

    mode: Mode
    ids: tuple[str, ...]
    start: datetime
    end: datetime


def window(now: datetime) -> tuple[datetime, datetime]:
    """From this instant to the end of the day after tomorrow in Paris."""
    start = now.astimezone(PARIS).replace(microsecond=0)
    return start, datetime.combine(start.date() + timedelta(days=DAYS), time(23, 59, 59), PARIS)


def with_offset(bound: datetime) -> str:
    """2026-10-25T00:00:00.000%2B01:00."""
    return quote(bound.isoformat(timespec="milliseconds"), safe=":")


def without_offset(bound: datetime) -> str:
    """Without an offset, to be read as Paris time (SPEC §3.2)."""
    return bound.replace(tzinfo=None).isoformat(timespec="milliseconds")


def with_bare_plus(bound: datetime) -> str:
    """The + is not encoded, so it arrives as a space (SPEC §3.2)."""
    return bound.isoformat(timespec="milliseconds")


def parameters(search: PlatformSearch, bound: Bound = with_offset, comma: str = ",") -> Params:
    """Names and values, values percent-encoded."""
    system = IDNST_SYSTEM if search.mode is SOS else IDNPS_SYSTEM
    ids = comma.join(f"{system}%7C{quote(one, safe='')}" for one in search.ids)
    head = SLOT_CRITERIA if search.mode is SOS else ""
    limits = [(head + "start", "ge" + bound(search.start)), (head + "start", "le" + bound(search.end))]
    criteria = [*limits, (PLACE_CHAIN if search.mode is SOS else PRACTITIONER_CHAIN, ids), (head + "status", "free")]
    return [*_includes(search.mode), *criteria]


def _includes(mode: Mode) -> Params:
    if mode is SOS:
        return [
            ("_revinclude", "Slot:schedule"),
            ("_include", "Schedule:actor:Location"),
            ("_include:iterate", "Location:organization"),
        ]
    agenda = [("_include", "Slot:schedule"), ("_include:iterate", "Schedule:actor")]
    shared = [("_include", CPTS_INCLUDE), ("_include:iterate", "HealthcareService:organization")]
    return [*agenda, *shared] if mode is CPTS else agenda


def path(search: PlatformSearch, params: Params, slash: str = "") -> str:
    """The path below the base, with the query."""
    type = "Schedule" if search.mode is SOS else "Slot"
    return f"{type}{slash}?" + "&".join(f"{name}={value}" for name, value in params)


def plain(search: PlatformSearch) -> str:
    return path(search, parameters(search))


def unknown(mode: Mode) -> str:
    """A well-formed identifier of a range that is not attributed."""
    return "399999999999999" if mode is SOS else "899999999999"


def names_encoded(search: PlatformSearch) -> str:
    params = [(quote(name, safe=""), value) for name, value in parameters(search)]
    return path(search, params)


SPELLINGS: dict[str, Callable[[PlatformSearch], str]] = {
    "search-encoded-names": names_encoded,
    "search-trailing-slash": lambda search: path(search, parameters(search), slash="/"),
    "search-blank-after-comma": lambda search: path(search, parameters(search, comma=",%20")),
    "search-bound-without-offset": lambda search: path(search, parameters(search, bound=without_offset)),
    "search-bound-bare-plus": lambda search: path(search, parameters(search, bound=with_bare_plus)),
    "search-one-page": lambda search: path(search, [*parameters(search), ("_count", "1")]),
}
"""By rule: equivalent requests, whose responses must have the same slots."""
