"""Profiles and extensions that clients write: they count at once in every process. A second Api stands for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.api import Api
from support.packages import BASE, CORE, profile

Json = dict[str, Any]
PROFILE = f"{BASE}/StructureDefinition/named-patient"
EXTENSION = f"{BASE}/StructureDefinition/eye-colour"


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api(stored_profiles="on")


@pytest.fixture
def other(make_api: Callable[..., Api]) -> Api:
    return make_api(stored_profiles="on")


def element(path: str, **more: Any) -> Json:
    return {"differential": {"element": [{"id": path, "path": path, **more}]}}


def patient(canonical: str = PROFILE, **parts: Any) -> Json:
    return {"resourceType": "Patient", "meta": {"profile": [canonical]}, **parts}


def issues(api: Api, resource: Json) -> list[tuple[str, str]]:
    """(severity, code) of the errors and warnings of $validate, except the advice to add a narrative (dom-6)."""
    answer = api.post(f"{resource['resourceType']}/$validate", resource)
    found = answer.get_json()["issue"]
    serious = [i for i in found if i["severity"] in ("error", "warning") and "dom-6" not in i["diagnostics"]]
    return [(i["severity"], i["code"]) for i in serious]


def test_a_profile_counts_from_its_creation_to_its_deletion(api: Api, other: Api) -> None:
    assert issues(other, patient()) == [("warning", "not-found")]
    made = api.created(profile())
    for server in (other, api):
        assert issues(server, patient()) == [("error", "required")]
        assert server.post("Patient", patient()).status_code == 422
        assert server.post("Patient", patient(name=[{"text": "x"}])).status_code == 201
    api.put(f"StructureDefinition/{made['id']}", made | element("Patient.gender", min=1))
    for server in (other, api):
        assert issues(server, patient(gender="male")) == []
        assert issues(server, patient(name=[{"text": "x"}])) == [("error", "required")]
    api.delete(f"StructureDefinition/{made['id']}")
    for server in (other, api):
        assert issues(server, patient()) == [("warning", "not-found")]


def test_a_profile_is_found_by_version_and_without_one_in_the_latest(api: Api, other: Api) -> None:
    api.created(profile(version="1.0.0"))
    api.created(profile(version="1.10.0", **element("Patient.gender", min=1)))
    api.created(profile(version="1.9.0", **element("Patient.birthDate", min=1)))
    named, gendered, born = {"name": [{"text": "x"}]}, {"gender": "male"}, {"birthDate": "1970-01-01"}
    for canonical, right, wrong in (
        (PROFILE + "|1.0.0", named, gendered),
        (PROFILE + "|1.9.0", born, named),
        (PROFILE + "|1.10.0", gendered, born),
        (PROFILE, gendered, born),
    ):
        assert issues(other, patient(canonical, **right)) == [], canonical
        assert issues(other, patient(canonical, **wrong)) == [("error", "required")], canonical
    assert issues(other, patient(PROFILE + "|2.0.0")) == [("warning", "not-found")]


def test_a_profile_may_have_a_stored_base_which_may_change(api: Api, other: Api) -> None:
    child = f"{BASE}/StructureDefinition/child"
    api.created(profile("child", base=PROFILE, **element("Patient.gender", min=1)))
    assert issues(other, patient(child)) == [("warning", "exception")]  # the base is missing
    base = api.created(profile())
    assert issues(other, patient(child)) == [("error", "required"), ("error", "required")]
    api.put(f"StructureDefinition/{base['id']}", base | element("Patient.birthDate", max="0"))
    assert issues(other, patient(child, gender="male")) == []
    assert issues(other, patient(child, gender="male", birthDate="1970-01-01"))[0][0] == "error"


def test_an_extension_is_checked_against_its_stored_definition(api: Api, other: Api) -> None:
    made = {"resourceType": "Patient", "extension": [{"url": EXTENSION, "valueInteger": 1}]}
    assert issues(other, made) == []
    definition = profile("eye-colour", base=CORE + "Extension", type="Extension", kind="complex-type")
    definition |= {"context": [{"type": "element", "expression": "Patient"}]}
    api.created(definition | element("Extension.value[x]", type=[{"code": "string"}], min=1))
    assert [severity for severity, _ in issues(other, made)] == ["error"]
    assert issues(other, made | {"extension": [{"url": EXTENSION, "valueString": "blue"}]}) == []


def test_profiles_of_one_transaction_count_after_it(api: Api, other: Api) -> None:
    entry = {"resource": profile(), "request": {"method": "POST", "url": "StructureDefinition"}}
    assert issues(other, patient()) == [("warning", "not-found")]
    assert api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).status_code == 200
    assert issues(other, patient()) == [("error", "required")]


def test_an_invalid_profile_is_unknown_and_stops_nothing(api: Api, other: Api) -> None:
    api.created(profile(**element("Patient.shoe", min=1)))
    assert issues(other, patient()) == [("warning", "not-found")] or issues(other, patient())[0][1] == "exception"
    assert other.post("Patient", patient()).status_code == 201
    assert issues(other, {"resourceType": "Patient"}) == []


def test_types_of_r4_cannot_be_redefined(api: Api, other: Api) -> None:
    api.created(profile(url=CORE + "Patient", derivation="constraint"))
    assert issues(other, patient(CORE + "Patient")) == []
    vital = CORE + "vitalsigns"
    api.created(profile(url=vital, type="Observation", base=CORE + "Observation", **element("Observation.note", min=1)))
    observation = {
        "resourceType": "Observation",
        "meta": {"profile": [vital]},
        "status": "final",
        "code": {"text": "x"},
    }
    texts = other.post("Observation/$validate", observation).text
    assert "Observation.category" in texts
    assert "Observation.note" not in texts


def test_the_setting_off_leaves_them_out(make_api: Callable[..., Api]) -> None:
    api = make_api(stored_profiles="off")
    api.created(profile())
    assert issues(api, patient()) == [("warning", "not-found")]
    assert api.post("Patient", patient()).status_code == 201


def test_a_server_without_stored_profiles_reads_no_marker(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known profiles and resources without a profile cost no read of the store."""
    read: list[tuple[str, str]] = []
    store = type(api.ctx.store)
    get_record = store.get_record

    def counted(self: Any, kind: str, key: str) -> Any:
        read.append((kind, key))
        return get_record(self, kind, key)

    monkeypatch.setattr(store, "get_record", counted)
    assert issues(api, patient(CORE + "Patient", extension=[{"url": CORE + "patient-nationality"}]))
    assert api.post("Patient", {"resourceType": "Patient"}).status_code == 201
    assert [kind for kind, _ in read if kind == "fhirstore.structures"] == []
