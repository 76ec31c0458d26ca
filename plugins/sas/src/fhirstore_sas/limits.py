"""The limit of identifiers in one SAS search (SPEC §9; §20, no. 11)."""

from __future__ import annotations

from fhirstore.plugins import Message, Query, error
from fhirstore_sas.modes import PLACE_CHAIN, PRACTITIONER_CHAIN

OPTION = "sas.identifiers"


def check(query: Query, limit: int) -> None:
    """Raises FhirError 422 if a parameter of a SAS search contains more identifiers than `limit`."""
    for name, text in query.params:
        if name.strip() in (PRACTITIONER_CHAIN, PLACE_CHAIN) and text.count(",") >= limit:
            raise error(
                422,
                "too-costly",
                Message(
                    "{name} contains {count} identifiers. The limit is {limit} (sas.identifiers). Split "
                    "the search into several requests.",
                    name=name.strip(),
                    count=text.count(",") + 1,
                    limit=limit,
                ),
                f"http.{name.strip()}",
                rule="search-identifiers",
            )
