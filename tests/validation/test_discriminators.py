"""Each discriminator: how a value finds its slice."""

from __future__ import annotations

from typing import Any

import pytest
from profiling import CORE, URL, P, checker, code_system, element, extension, places, profile, sliced, value_set

Json = dict[str, Any]


def patient(**parts: Any) -> Json:
    return {"resourceType": "Patient", **parts}


CODES = [
    code_system("http://codes", "red", "green", "blue"),
    value_set(URL + "warm", {"system": "http://codes", "concept": [{"code": "red"}]}),
    value_set(URL + "cold", {"system": "http://codes", "concept": [{"code": "blue"}]}),
]


def concept(code: str, system: str = "http://codes") -> Json:
    return {"coding": [{"system": system, "code": code}]}


def observation(**parts: Any) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, **parts}


@pytest.mark.parametrize("kind", ["value", "pattern"])
def test_this_by_pattern(kind: str) -> None:
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.category", f"{kind} $this", rules="closed"),
            element("Observation.category:red", patternCodeableConcept=concept("red")),
            element("Observation.category:blue", patternCodeableConcept=concept("blue")),
        )
    )
    both = {"coding": [{"system": "http://other", "code": "1"}, *concept("blue")["coding"]], "text": "cold"}
    assert check(observation(category=[concept("red"), both])) == []
    assert places(check(observation(category=[concept("green")]))) == [("structure", "Observation.category[0]")]


@pytest.mark.parametrize("kind", ["value", "pattern"])
def test_this_by_nothing_but_a_required_binding(kind: str) -> None:
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.category", f"{kind} $this"),
            element("Observation.category:warm", binding={"strength": "required", "valueSet": URL + "warm"}),
            element("Observation.category:warm.text", min=1),
            element("Observation.category:cold", binding={"strength": "required", "valueSet": URL + "cold"}),
            element("Observation.category:cold.text", max="0"),
        ),
        *CODES,
    )
    assert check(observation(category=[{**concept("red"), "text": "x"}, concept("blue"), {"text": "y"}])) == []
    faults = check(observation(category=[concept("red"), {**concept("blue"), "text": "x"}]))
    assert places(faults) == [
        ("required", "Observation.category[0].text"),
        ("structure", "Observation.category[1].text"),
    ]


def test_a_nested_path_into_a_pattern_of_an_outer_element() -> None:
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.component", "value code.coding.code"),
            element("Observation.component:red", min=1, max="1"),
            element("Observation.component:red.code", patternCodeableConcept=concept("red")),
        )
    )
    red, blue = {"code": concept("red")}, {"code": concept("blue")}
    assert check(observation(component=[blue, red])) == []
    assert places(check(observation(component=[blue]))) == [("required", "Observation.component")]
    assert places(check(observation(component=[red, red]))) == [("structure", "Observation.component[1]")]


def test_several_discriminators_must_all_agree() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.telecom", "value system", "value use"),
            element("Patient.telecom:home", max="1"),
            element("Patient.telecom:home.system", fixedCode="phone"),
            element("Patient.telecom:home.use", fixedCode="home"),
        )
    )
    home, work = {"system": "phone", "use": "home"}, {"system": "phone", "use": "work"}
    assert check(patient(telecom=[home, work, work, {"system": "email", "use": "home"}])) == []
    assert places(check(patient(telecom=[home, home]))) == [("structure", "Patient.telecom[1]")]


def test_exists() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.name", "exists period", rules="closed"),
            element("Patient.name:dated", max="1"),
            element("Patient.name:dated.period", min=1),
            element("Patient.name:plain", min=1),
            element("Patient.name:plain.period", max="0"),
        )
    )
    dated, plain = {"family": "A", "period": {"start": "2020"}}, {"family": "B"}
    assert check(patient(name=[plain, dated, plain])) == []
    assert places(check(patient(name=[dated]))) == [("required", "Patient.name")]
    assert places(check(patient(name=[plain, dated, dated]))) == [("structure", "Patient.name[2]")]


def test_type_of_a_choice() -> None:
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.value[x]", "type $this", rules="closed"),
            element("Observation.value[x]:valueQuantity", type=[{"code": "Quantity"}]),
            element("Observation.value[x]:valueQuantity.unit", min=1),
            element("Observation.value[x]:valueString", type=[{"code": "string"}], maxLength=3),
        )
    )
    assert check(observation(valueQuantity={"value": 1, "unit": "kg"})) == []
    assert check(observation(valueString="abc")) == []
    assert places(check(observation(valueQuantity={"value": 1}))) == [("required", "Observation.value.unit")]
    assert places(check(observation(valueString="abcd"))) == [("too-long", "Observation.value")]
    assert places(check(observation(valueBoolean=True))) == [("structure", "Observation.value")]


def entries(*resources: Json) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"http://x/{r['resourceType']}/{i}", "resource": r} for i, r in enumerate(resources)],
    }


def test_type_of_the_resource_of_an_entry() -> None:
    check = checker(
        profile(
            P,
            "Bundle",
            sliced("Bundle.entry", "type resource", rules="closed"),
            element("Bundle.entry:patient", min=1, max="1"),
            element("Bundle.entry:patient.resource", type=[{"code": "Patient"}]),
            element("Bundle.entry:patient.resource.birthDate", min=1),
            element("Bundle.entry:observation"),
            element("Bundle.entry:observation.resource", type=[{"code": "Observation"}]),
        )
    )
    born = patient(birthDate="2000")
    assert check(entries(observation(), born)) == []
    assert places(check(entries(observation()))) == [("required", "Bundle.entry")]
    assert places(check(entries(patient()))) == [("required", "Bundle.entry[0].resource.birthDate")]
    assert places(check(entries(born, {"resourceType": "Slot"}))) == [("structure", "Bundle.entry[1]")]


def test_profile_by_claim_and_by_conformance() -> None:
    born, named = URL + "born", URL + "named"
    check = checker(
        profile(
            P,
            "Bundle",
            sliced("Bundle.entry", "profile resource"),
            element("Bundle.entry:born", min=1),
            element("Bundle.entry:born.resource", type=[{"code": "Patient", "profile": [born]}]),
            element("Bundle.entry:named", max="1"),
            element("Bundle.entry:named.resource", type=[{"code": "Patient", "profile": [named]}]),
        ),
        profile(born, "Patient", element("Patient.birthDate", min=1)),
        profile(named, "Patient", element("Patient.name", min=1)),
    )
    assert check(entries(patient(birthDate="2000"), observation())) == []
    assert places(check(entries(observation()))) == [("required", "Bundle.entry")]
    # who claims it belongs to the slice, so the error is reported at its path
    claims = patient(meta={"profile": [born]})
    (fault,) = check(entries(claims))
    assert fault[:2] == ("required", "Bundle.entry[0].resource.birthDate")
    assert f"[profile of Bundle.entry:born.resource in {P}]" in fault[2]
    both = patient(name=[{"text": "A"}], meta={"profile": [named]})
    faults = check(entries(patient(birthDate="2000"), both, both))
    assert places(faults) == [("structure", "Bundle.entry[2]")]


def test_position() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.name", "position $this"),
            element("Patient.name:first", min=1, max="1"),
            element("Patient.name:first.use", fixedCode="official"),
            element("Patient.name:others"),
            element("Patient.name:others.use", fixedCode="old"),
        )
    )
    official, old = {"use": "official", "family": "A"}, {"use": "old", "family": "B"}
    assert check(patient(name=[official, old, old])) == []
    assert places(check(patient(name=[old, official]))) == [
        ("value", "Patient.name[0].use"),
        ("value", "Patient.name[1].use"),
    ]


def test_url_of_an_extension_by_the_profile_of_the_slice() -> None:
    known = URL + "nickname"
    check = checker(
        profile(
            P,
            "Patient",
            element("Patient.extension:nick", min=1, max="1", type=[{"code": "Extension", "profile": [known]}]),
        ),
        extension(known, element("Extension.value[x]", min=1, type=[{"code": "string"}]), context=("Patient",)),
    )
    nick = {"url": known, "valueString": "Al"}
    assert check(patient(extension=[{"url": "http://else", "valueString": "x"}, nick])) == []
    assert places(check(patient(extension=[nick, nick]))) == [("structure", "Patient.extension[1]")]
    assert places(check(patient(extension=[{"url": known, "valueBoolean": True}]))) == [
        ("structure", "Patient.extension[0].value")
    ]


def test_a_value_inside_of_an_extension() -> None:
    kind = URL + "kind"
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.contact", f"value extension('{kind}').value"),
            element("Patient.contact:legal", min=1),
            element("Patient.contact:legal.extension:kind", min=1, type=[{"code": "Extension", "profile": [kind]}]),
            element("Patient.contact:legal.extension:kind.value[x]", fixedString="legal"),
            element("Patient.contact:legal.name", min=1),
        ),
        extension(kind, element("Extension.value[x]", type=[{"code": "string"}])),
    )

    def contact(value: str, **parts: Any) -> Json:
        return {"extension": [{"url": kind, "valueString": value}], **parts}

    assert check(patient(contact=[contact("legal", name={"text": "A"}), contact("other", gender="male")])) == []
    assert places(check(patient(contact=[contact("other", gender="male")]))) == [("required", "Patient.contact")]
    assert places(check(patient(contact=[contact("legal")]))) == [("required", "Patient.contact[0].name")]


def test_type_behind_a_reference() -> None:
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.performer", "type $this.resolve()", rules="closed"),
            element("Observation.performer:who", max="1", type=[to("Practitioner")]),
            element("Observation.performer:where", type=[to("Organization")]),
        )
    )
    who, where = {"reference": "Practitioner/1"}, {"reference": "#o"}
    contained = [{"resourceType": "Organization", "id": "o", "name": "O"}]
    assert check(observation(contained=contained, performer=[where, who, where])) == []
    assert places(check(observation(performer=[who, who]))) == [("structure", "Observation.performer[1]")]
    assert places(check(observation(performer=[{"reference": "Patient/1"}]))) == [
        ("structure", "Observation.performer[0]")
    ]


def to(*types: str) -> Json:
    return {"code": "Reference", "targetProfile": [CORE + t for t in types]}


def test_value_behind_a_reference() -> None:
    active = URL + "active"
    check = checker(
        profile(
            P,
            "Observation",
            sliced("Observation.performer", "value resolve().active"),
            element("Observation.performer:active", min=1, type=[{"code": "Reference", "targetProfile": [active]}]),
            element("Observation.performer:active.display", min=1),
        ),
        profile(active, "Organization", element("Organization.active", fixedBoolean=True, min=1)),
    )

    def performed(value: bool, **parts: str) -> Json:
        contained = [{"resourceType": "Organization", "id": "o", "active": value}]
        return observation(contained=contained, performer=[{"reference": "#o", **parts}])

    assert check(performed(True, display="O")) == []
    assert places(check(performed(False, display="O"))) == [("required", "Observation.performer")]
    assert places(check(performed(True))) == [("required", "Observation.performer[0].display")]


def test_slices_of_slices_of_extensions_are_reported_at_their_index() -> None:
    outer = URL + "address"
    check = checker(
        profile(P, "Patient", element("Patient.extension:a", type=[{"code": "Extension", "profile": [outer]}])),
        extension(
            outer,
            element("Extension.extension:street", min=1, max="1"),
            element("Extension.extension:street.url", fixedUri="street"),
            element("Extension.extension:street.value[x]", min=1, type=[{"code": "string"}]),
            element("Extension.value[x]", max="0"),
            context=("Patient",),
        ),
    )
    good = {"url": outer, "extension": [{"url": "street", "valueString": "S"}]}
    assert check(patient(extension=[good])) == []
    bad = {"url": outer, "extension": [{"url": "town", "valueString": "T"}, {"url": "street", "valueInteger": 1}]}
    assert places(check(patient(extension=[bad]))) == [("structure", "Patient.extension[0].extension[1].value")]


def test_a_path_that_no_slice_explains_leaves_the_choice_to_conformance() -> None:
    check = checker(
        profile(
            P,
            "Patient",
            sliced("Patient.name", "value period.start", rules="closed"),
            element("Patient.name:short"),
            element("Patient.name:short.family", min=1, maxLength=3),
        )
    )
    assert check(patient(name=[{"family": "Abc"}])) == []
    assert places(check(patient(name=[{"family": "Abcd"}]))) == [("structure", "Patient.name[0]")]
