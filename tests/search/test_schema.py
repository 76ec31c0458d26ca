from __future__ import annotations

from dataclasses import replace

import pytest

from fhirstore.capability.registry import Registry
from fhirstore.errors import StartupError
from fhirstore.model.indexing import CompoundIndex
from fhirstore.search.schema import make_schema


def test_every_indexed_parameter_is_in_the_schema_with_its_kind(registry: Registry) -> None:
    schema = make_schema(registry, ())
    assert {(t, p.code, p.kind) for t, specs in schema.types.items() for p in specs.values() if ":" not in p.code} == {
        (t, p.code, p.type) for t, params in registry.indexed_types.items() for p in params.values()
    }


@pytest.mark.parametrize(
    ("type", "code", "single"),
    [
        ("Slot", "schedule", True),
        ("Slot", "start", True),
        ("Slot", "status", True),
        ("Slot", "identifier", False),
        ("Observation", "code", False),  # one concept, several codings
        ("Patient", "name", False),
        ("QuestionnaireResponse", "questionnaire", False),  # a canonical, with and without version
        ("ValueSet", "url", True),
        ("Encounter", "class", True),
        ("Encounter", "date", True),
    ],
)
def test_single_means_that_there_can_be_one_entry_only(registry: Registry, type: str, code: str, single: bool) -> None:
    assert make_schema(registry, ()).types[type][code].single == single


def test_reference_parameters_have_a_token_parameter_for_their_identifiers(registry: Registry) -> None:
    types = make_schema(registry, ()).types
    assert types["Observation"]["subject:identifier"].kind == "token"
    assert "questionnaire:identifier" not in types["QuestionnaireResponse"]


def test_the_digest_follows_that_of_the_parameter(registry: Registry) -> None:
    slot = registry.indexed_types["Slot"]
    changed = {**registry.indexed_types, "Slot": {**slot, "start": replace(slot["start"], digest="other")}}
    before = make_schema(registry, ()).types["Slot"]
    after = make_schema(replace(registry, indexed_types=changed), ()).types["Slot"]
    assert before["start"].digest != after["start"].digest
    assert before["status"].digest == after["status"].digest


def test_compounds_are_kept_once_and_dropped_where_they_do_not_apply(registry: Registry) -> None:
    useful = CompoundIndex("Slot", ("schedule", "start"))
    unknown = [CompoundIndex("Basic", ("code", "subject")), CompoundIndex("Slot", ("schedule", "colour"))]
    assert make_schema(registry, [useful, useful, *unknown]).compounds == (useful,)


def test_a_compound_over_several_values_stops_the_start(registry: Registry) -> None:
    with pytest.raises(StartupError, match="several entries for 'identifier'"):
        make_schema(registry, [CompoundIndex("Slot", ("schedule", "identifier"))])
