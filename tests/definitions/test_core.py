from __future__ import annotations

import pytest

from fhirstore.definitions.core import Definitions, load
from fhirstore.definitions.model import Binding, TypeRef

VALUE_SET = "http://hl7.org/fhir/ValueSet/"


@pytest.fixture(scope="module")
def core() -> Definitions:
    return load()


def test_load_gives_the_same_object_every_time() -> None:
    assert load() is load()


def test_the_version_is_r4(core: Definitions) -> None:
    assert core.version == "4.0.1"


def test_all_146_concrete_resource_types_are_there_and_complete(core: Definitions) -> None:
    assert len(core.resource_types) == 146
    assert {"Patient", "Slot", "SubstanceSourceMaterial", "VisionPrescription"} <= core.resource_types
    assert {"Resource", "DomainResource"}.isdisjoint(core.resource_types)
    for name in core.resource_types:
        node = core.node(name)
        assert node is not None
        assert node.kind == "resource"
        assert not node.abstract
        assert list(node.elements)[:4] == ["id", "meta", "implicitRules", "language"]


def test_every_type_that_an_element_names_has_a_node(core: Definitions) -> None:
    todo, seen = [*core.resource_types, "Resource", "DomainResource"], set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        node = core.node(path)
        assert node is not None, path
        for element in node.elements.values():
            assert element.types, element.path
            todo += [element.node] if element.node else [t.code for t in element.types]
    assert {"HumanName", "Timing.repeat", "xhtml", "positiveInt", "Patient.contact"} <= seen


def test_an_unknown_path_has_no_node(core: Definitions) -> None:
    assert core.node("Patient.kontact") is None
    assert core.node("Patiente") is None
    assert core.node("") is None


def test_elements_come_in_the_order_of_the_specification_inherited_ones_first(core: Definitions) -> None:
    node = core.node("Patient.contact")
    assert node is not None
    assert list(node.elements) == [
        *("id", "extension", "modifierExtension", "relationship", "name", "telecom", "address", "gender"),
        *("organization", "period"),
    ]
    assert node.kind == "backbone"
    assert node.base == "BackboneElement"
    assert not node.abstract


def test_paths_of_inherited_elements_are_those_of_the_type_that_inherits(core: Definitions) -> None:
    patient, contact = core.node("Patient"), core.node("Patient.contact")
    assert patient is not None
    assert contact is not None
    assert patient.elements["id"].path == "Patient.id"
    assert contact.elements["modifierExtension"].path == "Patient.contact.modifierExtension"


@pytest.mark.parametrize(
    ("path", "name", "low", "high"),
    [
        ("Patient", "name", 0, None),
        ("Patient", "birthDate", 0, 1),
        ("Slot", "schedule", 1, 1),
        ("Slot", "specialty", 0, None),
        ("Appointment", "participant", 1, None),
        ("xhtml", "extension", 0, 0),
    ],
)
def test_cardinalities(core: Definitions, path: str, name: str, low: int, high: int | None) -> None:
    node = core.node(path)
    assert node is not None
    assert (node.elements[name].min, node.elements[name].max) == (low, high)


@pytest.mark.parametrize(
    ("path", "name", "code"),
    [
        ("Patient", "id", "id"),
        ("HumanName", "id", "string"),
        ("Patient.contact", "id", "string"),
        ("Extension", "url", "uri"),
        ("date", "value", "date"),
        ("Narrative", "div", "xhtml"),
    ],
)
def test_types_that_the_specification_spells_as_system_types_are_fhir_types(
    core: Definitions, path: str, name: str, code: str
) -> None:
    node = core.node(path)
    assert node is not None
    assert node.elements[name].types == (TypeRef(code),)


def test_references_name_their_targets_and_none_for_any(core: Definitions) -> None:
    slot, provenance = core.node("Slot"), core.node("Provenance")
    assert slot is not None
    assert provenance is not None
    assert slot.elements["schedule"].types == (TypeRef("Reference", ("Schedule",)),)
    assert provenance.elements["target"].types == (TypeRef("Reference"),)


def test_bindings_carry_no_version(core: Definitions) -> None:
    patient = core.node("Patient")
    assert patient is not None
    assert patient.elements["gender"].binding == Binding("required", VALUE_SET + "administrative-gender")


def test_summary_and_modifier_flags(core: Definitions) -> None:
    slot = core.node("Slot")
    assert slot is not None
    assert slot.elements["status"].summary
    assert not slot.elements["comment"].summary
    assert slot.elements["implicitRules"].modifier
    assert not slot.elements["status"].modifier


def test_a_choice_has_one_key_per_type(core: Definitions) -> None:
    patient, extension = core.node("Patient"), core.node("Extension")
    assert patient is not None
    assert extension is not None
    assert "deceased" not in patient.keys
    element, type_ref = patient.keys["deceasedDateTime"]
    assert element is patient.elements["deceased"]
    assert element.choice
    assert element.path == "Patient.deceased[x]"
    assert type_ref == TypeRef("dateTime")
    assert len([k for k in extension.keys if k.startswith("value")]) == 50


def test_a_content_reference_leads_to_the_node_it_names(core: Definitions) -> None:
    for path, name, target in (
        ("Bundle.entry", "link", "Bundle.link"),
        ("Observation.component", "referenceRange", "Observation.referenceRange"),
        ("QuestionnaireResponse.item.answer", "item", "QuestionnaireResponse.item"),
    ):
        node = core.node(path)
        assert node is not None
        assert node.elements[name].node == target
        assert node.elements[name].types == (TypeRef("BackboneElement"),)


def test_invariants_are_inherited_and_each_stands_once(core: Definitions) -> None:
    patient, contact, age = core.node("Patient"), core.node("Patient.contact"), core.node("Age")
    assert patient is not None
    assert contact is not None
    assert age is not None
    assert [i.key for i in patient.invariants] == ["dom-2", "dom-3", "dom-4", "dom-5", "dom-6"]
    assert [i.key for i in contact.invariants] == ["ele-1", "pat-1"]
    assert [i.key for i in age.invariants] == ["ele-1", "qty-3", "age-1"]


def test_an_invariant_of_a_child_without_a_node_becomes_a_rule_of_its_parent(core: Definitions) -> None:
    organization = core.node("Organization")
    assert organization is not None
    found = {i.key: i.expression for i in organization.invariants}
    assert found["org-3"] == "telecom.all(where(use = 'home').empty())"


@pytest.mark.parametrize(
    ("name", "ancestor", "expected"),
    [
        ("Age", "Quantity", True),
        ("code", "string", True),
        ("Patient", "DomainResource", True),
        ("Bundle", "Resource", True),
        ("Bundle", "DomainResource", False),
        ("Patient.contact", "BackboneElement", True),
        ("Quantity", "Age", False),
        ("Nothing", "Element", False),
    ],
)
def test_is_a_follows_the_bases(core: Definitions, name: str, ancestor: str, expected: bool) -> None:
    assert core.is_a(name, ancestor) is expected


# --- search parameters


def test_all_search_parameters_with_an_expression_are_there(core: Definitions) -> None:
    assert len(core.search_parameters()) == 1381
    assert all(p.expression and p.bases and p.url == url for url, p in core.search_parameters().items())


def test_a_search_parameter_is_read_completely(core: Definitions) -> None:
    found = core.search_parameters()["http://hl7.org/fhir/SearchParameter/Schedule-actor"]
    assert (found.code, found.type, found.bases, found.expression) == (
        *("actor", "reference", ("Schedule",), "Schedule.actor"),
    )
    assert {"Practitioner", "PractitionerRole", "Location"} <= set(found.targets)
    date = core.search_parameters()["http://hl7.org/fhir/SearchParameter/clinical-date"]
    assert {"eq", "ge", "ap"} <= set(date.comparators)
    assert date.multiple_or


def test_composite_parameters_keep_their_components(core: Definitions) -> None:
    found = core.search_parameters()["http://hl7.org/fhir/SearchParameter/Observation-code-value-quantity"]
    assert found.components == (
        ("http://hl7.org/fhir/SearchParameter/clinical-code", "code"),
        ("http://hl7.org/fhir/SearchParameter/Observation-value-quantity", "value.as(Quantity)"),
    )


# --- terminology


def test_the_expansion_of_a_required_value_set_has_all_its_codes(core: Definitions) -> None:
    system = "http://hl7.org/fhir/administrative-gender"
    expected = {(system, code) for code in ("male", "female", "other", "unknown")}
    assert core.expansion(VALUE_SET + "administrative-gender") == expected
    assert core.expansion(VALUE_SET + "administrative-gender|4.0.1") == expected
    assert core.codes(VALUE_SET + "administrative-gender") == {code for _, code in expected}


def test_an_expansion_lists_the_concepts_that_the_value_set_selects(core: Definitions) -> None:
    assert core.codes(VALUE_SET + "units-of-time") == {"s", "min", "h", "d", "wk", "mo", "a"}


@pytest.mark.parametrize("name", ["mimetypes", "currencies", "ucum-units", "all-languages", "languages", "none"])
def test_what_cannot_be_enumerated_has_no_expansion(core: Definitions, name: str) -> None:
    assert core.expansion(VALUE_SET + name) is None
    assert core.codes(VALUE_SET + name) is None


def test_an_unknown_version_has_no_expansion(core: Definitions) -> None:
    assert core.expansion(VALUE_SET + "administrative-gender|9.9") is None


def test_every_required_binding_is_expanded_or_known_to_be_unbounded(core: Definitions) -> None:
    unbounded = set()
    for name in core.resource_types:
        node = core.node(name)
        assert node is not None
        for element in node.elements.values():
            if element.binding and element.binding.strength == "required":
                codes = core.codes(element.binding.value_set)
                if codes is None:
                    unbounded.add(element.binding.value_set.rpartition("/")[2])
                else:
                    assert codes
    assert unbounded <= {"mimetypes", "currencies", "ucum-units", "LL379-9"}


def test_code_systems_keep_codes_displays_and_hierarchy(core: Definitions) -> None:
    found = core.code_system("http://terminology.hl7.org/CodeSystem/observation-category")
    assert found is not None
    assert found["content"] == "complete"
    assert {"code": "vital-signs", "display": "Vital Signs"} in found["concept"]
    nested = core.code_system("http://hl7.org/fhir/issue-type")
    assert nested is not None
    assert "structure" in [c["code"] for c in nested["concept"][0]["concept"]]


def test_concepts_keep_designations_and_what_says_that_they_are_retired(core: Definitions) -> None:
    found = core.code_system("http://terminology.hl7.org/CodeSystem/v3-NullFlavor")
    assert found is not None
    assert {"code": "status", "uri": "http://hl7.org/fhir/concept-properties#status", "type": "code"} in found[
        "property"
    ]
    sexes = core.code_system("http://terminology.hl7.org/CodeSystem/v2-0001")
    assert sexes is not None
    assert any(d["language"] == "nl" for d in sexes["concept"][0]["designation"])


def test_definitions_of_concepts_stand_apart(core: Definitions) -> None:
    texts = core.concept_definitions("http://hl7.org/fhir/administrative-gender")
    assert texts["male"] == "Male."
    assert core.concept_definitions("http://example.org/none") == {}


def test_the_concept_maps_are_there(core: Definitions) -> None:
    found = core.concept_maps()["http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3"]
    assert found["group"][0]["element"]


def test_a_code_system_whose_url_holds_a_bar_is_found(core: Definitions) -> None:
    assert core.code_system("http://terminology.hl7.org/CodeSystem/v2-0391|2.6") is not None


def test_terminology_is_found_by_versioned_canonical(core: Definitions) -> None:
    assert core.value_set(VALUE_SET + "slotstatus|4.0.1") == core.value_set(VALUE_SET + "slotstatus")
    assert core.value_set(VALUE_SET + "slotstatus") is not None
    assert core.value_set(VALUE_SET + "slotstatus|3.0.0") is None
    assert core.code_system("http://hl7.org/fhir/slotstatus|3.0.0") is None


# --- compartments and operations


def test_compartments_name_the_parameters_of_each_type(core: Definitions) -> None:
    patient = core.compartment("Patient")
    assert patient is not None
    assert patient["Observation"] == ("subject", "performer")
    assert "Slot" not in patient
    assert core.compartment("Slot") is None


def test_the_operation_definitions_are_there(core: Definitions) -> None:
    found = core.operations()["http://hl7.org/fhir/OperationDefinition/Resource-validate"]
    assert found["code"] == "validate"
    assert [p["name"] for p in found["parameter"] if p["use"] == "in"] == ["resource", "mode", "profile"]
