"""What an interaction answers, before HTTP or a Bundle entry gives it a form."""

from __future__ import annotations

from dataclasses import dataclass

from fhirstore.errors import Issue
from fhirstore.model.stored import Stored


@dataclass(frozen=True, slots=True)
class Result:
    """status: the HTTP status. stored: the version concerned. body: a finished resource (a Bundle) instead.
    has_location: a Location is due; versioned_location: with /_history/<vid>. issues: for
    Prefer: return=OperationOutcome."""

    status: int
    stored: Stored | None = None
    body: bytes | None = None
    has_location: bool = False
    versioned_location: bool = True
    issues: tuple[Issue, ...] = ()

    @property
    def location(self) -> str | None:
        """Relative to the base: Patient/1/_history/2."""
        if not self.has_location or self.stored is None:
            return None
        return f"{self.stored.ref}/_history/{self.stored.version}" if self.versioned_location else self.stored.ref


REASONS = {200: "200 OK", 201: "201 Created", 204: "204 No Content", 304: "304 Not Modified"}
