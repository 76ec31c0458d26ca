"""The result of an interaction, before HTTP or a Bundle entry represents it."""

from __future__ import annotations

from dataclasses import dataclass

from fhirstore.model.issues import Issue
from fhirstore.model.stored import Stored


@dataclass(frozen=True, slots=True)
class Result:
    """status: the HTTP status. stored: the version concerned, whose resource is the body.
    body: a finished resource instead of that of `stored`. is_outcome: whether `body` is an OperationOutcome.
    has_location: whether a Location header is due; versioned_location: with /_history/<vid>.
    issues: for Prefer: return=OperationOutcome."""

    status: int
    stored: Stored | None = None
    body: bytes | None = None
    is_outcome: bool = False
    has_location: bool = False
    versioned_location: bool = True
    issues: tuple[Issue, ...] = ()

    @property
    def location(self) -> str | None:
        """Relative to the base: Patient/1/_history/2."""
        if not self.has_location or self.stored is None:
            return None
        return f"{self.stored.ref}/_history/{self.stored.version}" if self.versioned_location else self.stored.ref
