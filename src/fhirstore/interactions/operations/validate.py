"""https://hl7.org/fhir/R4/resource-operation-validate.html"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error, outcome
from fhirstore.interactions.context import Context
from fhirstore.plugins.hookspecs import Call


def validate(ctx: Context, call: Call) -> Mapping[str, Any]:
    """An OperationOutcome with what is wrong with the resource. Raises 400 without a resource to validate."""
    resource = call.one("resource")
    if resource is None:
        raise error(400, "required", "The parameter resource is missing.", "Parameters")
    return outcome(*ctx.validator.validate(resource))
