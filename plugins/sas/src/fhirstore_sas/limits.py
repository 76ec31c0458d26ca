"""How many identifiers a SAS search may name: 25 and more, unless a limit is set (SPEC §9; §20, no. 11)."""

from __future__ import annotations

from collections.abc import Mapping

from fhirstore.errors import error
from fhirstore.plugins import PluginOption, Query
from fhirstore_sas.modes import PLACE_CHAIN, PRACTITIONER_CHAIN

OPTION = "sas.identifiers"
MOST = "1000"


def positive(text: str) -> int:
    """The number. Raises ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError("a number above zero")
    return int(text)


CHOICE = PluginOption(OPTION.partition(".")[2], default=MOST, check=positive)


def most(options: Mapping[str, str]) -> int:
    return int(options.get(OPTION, MOST))


def check(query: Query, limit: int) -> None:
    """Raises FhirError 422 where one parameter of a SAS search names more identifiers than that."""
    for name, text in query.params:
        if name.strip() in (PRACTITIONER_CHAIN, PLACE_CHAIN) and text.count(",") >= limit:
            raise error(
                422,
                "too-costly",
                f"{name.strip()} names {text.count(',') + 1} identifiers; this server searches {limit} at once "
                f"({OPTION}). Ask for them in several requests.",
                f"http.{name.strip()}",
                rule="search-identifiers",
            )
