"""Typed models of resources for plugin authors, from the distribution fhir.resources (FHIR R4B).

They read and build resources. Do not convert a stored resource and store the result: a round trip loses the precision
of decimals (`1.50`) and seconds (`.000`), and the ids of primitives. R4B has no models for 18 types that it removed
from R4.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from fhir_core.fhirabstractmodel import FHIRAbstractModel

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


def model(resource_type: str) -> type[FHIRAbstractModel]:
    """The class of a resource or data type: `model("Slot")`. Raises LookupError if R4B does not have the type."""
    # Imported here, because it takes some tenths of a second and few plugins need it.
    from fhir.resources.R4B import get_fhir_model_class

    try:
        found: type[FHIRAbstractModel] = get_fhir_model_class(resource_type)
    except ValueError:
        raise LookupError(f"fhir.resources has no R4B model of {resource_type!r}.") from None
    return found


def parse(resource: Mapping[str, Any]) -> FHIRAbstractModel:
    """The model of a parsed resource; numbers with a fraction may be Decimal.

    Raises LookupError, and pydantic's ValidationError (a ValueError) for content that R4B does not allow."""
    return model(str(resource.get("resourceType"))).model_validate(dict(resource))


def plain(resource: FHIRAbstractModel) -> dict[str, Any]:
    """A model as a dict like those of hooks; numbers with a fraction are Decimal."""
    return _decoder.decode(resource.model_dump_json())
