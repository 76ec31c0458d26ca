"""Extensions against their own definitions, wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import CORE, URL, P, checker, element, extension, places, profile

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import load
from fhirstore.validation.validator import ResourceValidator

Json = dict[str, Any]
E = URL + "e"
STRING = element("Extension.value[x]", min=1, type=[{"code": "string"}], maxLength=3)


def patient(**parts: Any) -> Json:
    return {"resourceType": "Patient", **parts}


def made(value: Any = "abc", key: str = "valueString") -> Json:
    return {"url": E, key: value}


def test_the_value_of_an_extension_that_the_profile_does_not_name() -> None:
    check = checker(profile(P, "Patient"), extension(E, STRING))
    assert check(patient(extension=[made()])) == []
    assert places(check(patient(name=[{"extension": [made("abcd")]}]))) == [
        ("too-long", "Patient.name[0].extension[0].value")
    ]
    assert places(check(patient(_birthDate={"extension": [made(True, "valueBoolean")]}))) == [
        ("structure", "Patient.birthDate.extension[0].value")
    ]
    inside = {"resourceType": "Organization", "id": "o", "extension": [made("abcd")]}
    assert places(check(patient(contained=[inside]))) == [("too-long", "Patient.contained[0].extension[0].value")]


@pytest.mark.parametrize(
    ("context", "good", "bad"),
    [
        ("Patient", {"extension": [made()]}, {"name": [{"extension": [made()]}]}),
        ("Patient.name", {"name": [{"extension": [made()]}]}, {"extension": [made()]}),
        ("HumanName", {"name": [{"extension": [made()]}]}, {"telecom": [{"extension": [made()]}]}),
        ("HumanName.family", {"name": [{"_family": {"extension": [made()]}}]},
         {"name": [{"_text": {"extension": [made()]}}]}),
        ("Patient.name.family", {"name": [{"_family": {"extension": [made()]}}]},
         {"contact": [{"name": {"_family": {"extension": [made()]}}}]}),
        ("string", {"name": [{"_text": {"extension": [made()]}}]}, {"_birthDate": {"extension": [made()]}}),
        ("Patient.contact", {"contact": [{"extension": [made()]}]}, {"extension": [made()]}),
        ("BackboneElement", {"contact": [{"extension": [made()]}]}, {"name": [{"extension": [made()]}]}),
        ("Patient.deceased[x]", {"_deceasedBoolean": {"extension": [made()]}}, {"_active": {"extension": [made()]}}),
        ("DomainResource", {"extension": [made()]}, {"name": [{"extension": [made()]}]}),
        ("Organization", {"contained": [{"resourceType": "Organization", "extension": [made()]}]},
         {"extension": [made()]}),
    ],
)  # fmt: skip
def test_where_an_extension_may_stand(context: str, good: Json, bad: Json) -> None:
    check = checker(profile(P, "Patient"), extension(E, context=(context,)))
    assert check(patient(**good)) == []
    ((code, place, text),) = check(patient(**bad))
    assert code == "structure"
    assert place.endswith("extension[0]")
    assert f"is allowed only in {context} [context of {E}]" in text


def test_an_element_is_anywhere_and_one_of_several_contexts_is_enough() -> None:
    assert checker(profile(P, "Patient"), extension(E))(patient(name=[{"extension": [made()]}])) == []
    several = extension(E, context=("Slot", "Patient"))
    assert checker(profile(P, "Patient"), several)(patient(extension=[made()])) == []


def test_an_extension_of_an_extension() -> None:
    outer = URL + "outer"
    inside = extension(E)
    inside["context"] = [{"type": "extension", "expression": outer}]
    check = checker(profile(P, "Patient"), inside, extension(outer))
    assert check(patient(extension=[{"url": outer, "extension": [made()]}])) == []
    assert places(check(patient(extension=[made()]))) == [("structure", "Patient.extension[0]")]


def test_modifier_extensions_stand_apart() -> None:
    modifier = extension(E, element("Extension", isModifier=True))
    check = checker(profile(P, "Patient"), modifier)
    assert check(patient(modifierExtension=[made()])) == []
    assert places(check(patient(extension=[made()]))) == [("structure", "Patient.extension[0]")]
    plain = checker(profile(P, "Patient"), extension(E))
    assert places(plain(patient(modifierExtension=[made()]))) == [("structure", "Patient.modifierExtension[0]")]


def test_an_unknown_extension_is_let_pass_but_an_unknown_modifier_gives_a_warning() -> None:
    check = checker(profile(P, "Patient"))
    assert check(patient(extension=[made()])) == check(patient(extension=[made()]), severity="warning") == []
    unknown = patient(modifierExtension=[made()])
    assert check(unknown) == []
    assert places(check(unknown, severity="warning")) == [("not-supported", "Patient.modifierExtension[0]")]


def test_extensions_of_r4_whose_definition_is_not_available_are_let_pass() -> None:
    known = {"url": CORE + "patient-birthPlace", "valueAddress": {"city": "X"}}
    check = checker(profile(P, "Patient"))
    assert check(patient(extension=[known])) == check(patient(extension=[known]), severity="warning") == []


def test_an_unknown_extension_in_a_closed_slicing() -> None:
    by_url = {"discriminator": [{"type": "value", "path": "url"}], "rules": "closed"}
    check = checker(
        profile(
            P,
            "Patient",
            element("Patient.extension", slicing=by_url),
            element("Patient.extension:e", type=[{"code": "Extension", "profile": [E]}]),
        ),
        extension(E),
    )
    assert check(patient(extension=[made()])) == []
    ((code, place, text),) = check(patient(extension=[made(), {"url": "http://else", "valueString": "x"}]))
    assert (code, place) == ("structure", "Patient.extension[1]")
    assert "'http://else'" in text


def test_a_profile_that_is_no_extension() -> None:
    faults = checker(profile(P, "Patient"))(patient(extension=[{"url": P, "valueString": "x"}]))
    assert ("value", "Patient.extension[0].url") in places(faults)


MOTHERS_FAMILY = {"url": f"{CORE}humanname-mothers-family", "valueString": "B"}
BIRTH_TIME = {"url": f"{CORE}patient-birthTime", "valueDateTime": "2000-01-01T10:00:00Z"}


@pytest.mark.parametrize("place", ["extension", "modifierExtension"])
@pytest.mark.parametrize("url", [f"{CORE}unheard-of", f"{CORE}patient-birthtime", f"{CORE}Patient-birthPlace"])
def test_an_extension_with_an_address_of_r4_that_r4_does_not_define_is_refused(place: str, url: str) -> None:
    validator = ResourceValidator(Catalog(load()))

    extended = {"text": "a", "extension": [{"url": url, "valueString": "a"}]}
    for resource in (
        patient(**{place: [{"url": url, "valueString": "a"}]}),
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": patient(name=[extended])}],
        },
    ):
        (issue,) = [i for i in validator.validate(resource, []) if i.is_error]
        assert issue.code == "structure"
        assert issue.expression[0].endswith("xtension[0].url")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/e",
        "http://hl7.org/fhir/5.0/StructureDefinition/extension-Patient.x",
        "http://hl7.org/fhir/us/x/StructureDefinition/y",
    ],
)
def test_an_extension_with_another_address_is_accepted(url: str) -> None:
    resource = patient(extension=[{"url": url, "valueString": "a"}])

    assert ResourceValidator(Catalog(load())).validate(resource, []) == []


@pytest.mark.parametrize(
    ("resource", "expression"),
    [
        (
            patient(
                name=[{"text": "a", "extension": [{"url": f"{CORE}humanname-mothers-family", "valueString": "B"}]}]
            ),
            "Patient.name[0].extension[0]",
        ),
        (
            patient(extension=[{"url": f"{CORE}patient-birthTime", "valueDateTime": "2000-01-01"}]),
            "Patient.extension[0]",
        ),
        (
            {
                "resourceType": "Basic",
                "code": {"text": "a"},
                "extension": [{"url": f"{CORE}patient-birthPlace", "valueAddress": {"text": "a"}}],
            },
            "Basic.extension[0]",
        ),
    ],
)
def test_an_extension_of_r4_outside_of_its_context_is_refused(resource: Json, expression: str) -> None:
    (issue,) = [i for i in ResourceValidator(Catalog(load())).validate(resource, []) if i.is_error]

    assert (issue.code, issue.expression) == ("structure", (expression,))
    assert "is allowed only in" in issue.diagnostics


def test_an_extension_of_r4_in_its_context_is_accepted() -> None:
    resource = patient(
        name=[{"_family": {"extension": [MOTHERS_FAMILY]}}],
        birthDate="2000-01-01",
        _birthDate={"extension": [BIRTH_TIME]},
        extension=[{"url": f"{CORE}patient-birthPlace", "valueAddress": {"text": "a"}}],
    )

    assert [i for i in ResourceValidator(Catalog(load())).validate(resource, []) if i.is_error] == []


@pytest.mark.parametrize(
    ("resource", "accepted"),
    [
        ({"resourceType": "CodeSystem", "status": "active", "content": "complete"}, True),
        ({"resourceType": "Basic", "code": {"text": "a"}}, False),
    ],
)
def test_canonical_resource_is_a_context(resource: Json, accepted: bool) -> None:
    check = checker(profile(P, resource["resourceType"]), extension(E, context=("CanonicalResource",)))

    assert (check(resource | {"extension": [made()]}) == []) is accepted


def test_the_extensions_of_r4s_own_definitions_are_accepted() -> None:
    fhir_type = {"url": f"{CORE}structuredefinition-fhir-type", "valueUrl": "string"}
    kind = {"extension": [fhir_type], "code": "http://hl7.org/fhirpath/System.String"}
    structure = {
        "resourceType": "StructureDefinition",
        "url": "http://example.org/p",
        "name": "P",
        "status": "draft",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "derivation": "constraint",
        "baseDefinition": f"{CORE}Patient",
        "differential": {
            "element": [
                {"id": "Patient", "path": "Patient"},
                {"id": "Patient.id", "path": "Patient.id", "type": [kind]},
            ]
        },
    }

    assert [i for i in ResourceValidator(Catalog(load())).validate(structure, []) if i.is_error] == []
