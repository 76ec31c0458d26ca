"""https://hl7.org/fhir/R4/http.html#vread"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fhirstore.errors import error
from fhirstore.interactions.base import Result
from fhirstore.interactions.read import Read, not_deleted
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message

_MAX_DIGITS = 18  # a version is a 64-bit integer


@dataclass(frozen=True, slots=True, kw_only=True)
class VRead(Read):
    """One version of a resource, current or past."""

    code: ClassVar[str] = "vread"

    version: str

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 404 if there is no such version, 410 if the version is a deletion."""
        version = self.version
        is_number = version.isascii() and version.isdigit() and len(version) <= _MAX_DIGITS
        stored = server.store.read(self.type, self.id, int(version)) if is_number and int(version) else None
        if stored is None:
            raise error(
                404,
                "not-found",
                Message(
                    "{type}/{id} has no version {version}. Its history lists the versions.",
                    type=self.type,
                    id=self.id[:80],
                    version=version[:40],
                ),
            )
        return self.result(server, not_deleted(stored))
