"""https://hl7.org/fhir/R4/http.html#capabilities"""

from __future__ import annotations

from typing import Any

from fhirstore.formats.compose import instant
from fhirstore.interactions.context import Server


def capability_statement(ctx: Server, base: str) -> dict[str, Any]:
    """The effective statement with what only the running server knows: since when it serves it, and where."""
    implementation = {"description": "fhirstore", "url": base}
    return {**ctx.registry.statement, "date": instant(ctx.started), "implementation": implementation}
