"""https://hl7.org/fhir/R4/http.html#capabilities"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from fhirstore.formats.json import dumps, instant
from fhirstore.interactions.base import Interaction, Result
from fhirstore.interactions.server import Server
from fhirstore.model.context import RequestContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities(Interaction):
    """The CapabilityStatement of this server, with its start time and URL."""

    code: ClassVar[str] = "capabilities"

    def check_served(self, server: Server) -> None:
        """Every server serves its statement."""

    def execute(self, server: Server, request: RequestContext) -> Result:
        implementation = {"description": "fhirstore", "url": request.base}
        statement: dict[str, Any] = {
            **server.registry.statement,
            "date": instant(server.started),
            "implementation": implementation,
        }
        return Result(200, body=dumps(statement))
