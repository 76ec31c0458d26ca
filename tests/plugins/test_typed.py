"""Resources as typed models and back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fhirstore.plugins import typed

OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "weight"},
    "valueQuantity": {"value": Decimal("71.5"), "unit": "kg"},
}


def test_a_resource_becomes_a_model_and_a_plain_dict_again() -> None:
    model = typed.parse(OBSERVATION)
    assert model.valueQuantity.unit == "kg"
    assert typed.plain(model) == OBSERVATION
    assert isinstance(typed.plain(model)["valueQuantity"]["value"], Decimal)


def test_a_resource_is_built_from_the_class_of_its_type() -> None:
    slot = typed.model("Slot")(
        schedule={"reference": "Schedule/1"},
        status="free",
        start="2026-01-01T08:00:00+01:00",
        end="2026-01-01T08:15:00+01:00",
    )
    assert typed.plain(slot)["schedule"] == {"reference": "Schedule/1"}


@pytest.mark.parametrize("type", ["MedicinalProduct", "Nothing", ""])
def test_a_type_without_model_is_refused_with_its_name(type: str) -> None:
    with pytest.raises(LookupError, match=f"no R4B model of '{type}'"):
        typed.model(type)


def test_content_that_r4b_refuses_is_an_error_that_says_where() -> None:
    with pytest.raises(ValueError, match="colour"):
        typed.parse(OBSERVATION | {"colour": "red"})
