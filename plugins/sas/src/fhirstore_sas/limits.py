"""How many identifiers a SAS search may name: 25 and more, unless a limit is set (SPEC §9; §20, no. 11)."""

from __future__ import annotations

from fhirstore.plugins import Query, error
from fhirstore_sas.modes import PLACE_CHAIN, PRACTITIONER_CHAIN

OPTION = "sas.identifiers"


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
