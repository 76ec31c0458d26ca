"""What clients write counts at once, on every worker: a second Api on the same store stands for another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.animals import ANIMALS, WHOLE, S, V, codes, out, value_set
from support.api import Api

from fhirstore.interactions.stored_definitions import StoredTerminology

Json = dict[str, Any]


@pytest.fixture
def other(make_api: Callable[..., Api]) -> Api:
    return make_api()


def expanded(api: Api, name: str = "whole") -> list[str]:
    answer = api.get(f"ValueSet/$expand?url={V}{name}&excludeNested=true")
    assert answer.status_code == 200, answer.text
    return codes(answer.get_json())


def is_in(api: Api, code: str, name: str = "whole") -> bool:
    answer = api.get(f"ValueSet/$validate-code?url={V}{name}&system={S}&code={code}")
    assert answer.status_code == 200, answer.text
    return bool(out(answer.get_json())["result"])


def test_a_code_system_that_changes(api: Api, other: Api) -> None:
    made = api.created(ANIMALS)
    api.created(WHOLE)
    assert [is_in(a, "newt") for a in (api, other)] == [False, False]
    api.put(f"CodeSystem/{made['id']}", made | {"concept": [{"code": "newt"}]})
    assert [is_in(a, "newt") for a in (other, api)] == [True, True]
    assert [expanded(a) for a in (other, api)] == [["newt"], ["newt"]]


def test_a_value_set_that_comes_changes_and_goes(api: Api, other: Api) -> None:
    api.created(ANIMALS)
    url = f"ValueSet/$expand?url={V}s&excludeNested=true"
    assert other.get(url).status_code == 404
    made = api.created(value_set("s", {"system": S, "concept": [{"code": "cat"}]}))
    assert expanded(other, "s") == ["cat"]
    api.put(f"ValueSet/{made['id']}", made | value_set("s", {"system": S, "concept": [{"code": "duck"}]}))
    assert expanded(other, "s") == ["duck"]
    api.delete(f"ValueSet/{made['id']}")
    assert other.get(url).status_code == 404


def test_a_value_set_that_another_imports(api: Api, other: Api) -> None:
    api.created(ANIMALS)
    inner = api.created(value_set("inner", {"system": S, "concept": [{"code": "cat"}]}))
    api.created(value_set("outer", {"valueSet": [V + "inner"]}))
    assert expanded(other, "outer") == ["cat"]
    api.put(f"ValueSet/{inner['id']}", inner | value_set("inner", {"system": S, "concept": [{"code": "duck"}]}))
    assert expanded(other, "outer") == ["duck"]


def test_what_is_missing_comes_later(api: Api, other: Api) -> None:
    api.created(WHOLE)
    assert other.get(f"ValueSet/$expand?url={V}whole").status_code == 422
    api.created(ANIMALS)
    assert "cat" in expanded(other)


def test_writes_of_a_bundle_count_too(api: Api, other: Api) -> None:
    api.created(WHOLE)
    assert other.get(f"ValueSet/$expand?url={V}whole").status_code == 422
    entry = {"resource": ANIMALS, "request": {"method": "POST", "url": "CodeSystem"}}
    for kind in ("transaction", "batch"):
        assert api.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]}).status_code == 200
        assert "cat" in expanded(other)
        api.delete(f"CodeSystem?url={S}")
        assert other.get(f"ValueSet/$expand?url={V}whole").status_code == 422


def test_what_did_not_change_stays_compiled(api: Api) -> None:
    api.created(ANIMALS)
    api.created(WHOLE)
    terms = api.ctx.terminology
    before = terms.current().value_set(V + "whole")
    api.created(value_set("else", {"system": S}))
    assert terms.current().value_set(V + "whole") is before


def test_of_what_changed_the_earlier_state_is_not_kept(api: Api) -> None:
    made = api.created(ANIMALS)
    terms = api.ctx.terminology
    for n in range(3):
        api.put(f"CodeSystem/{made['id']}", made | {"title": f"Animals {n}"})
        assert terms.current().require_code_system(S).find("cat")
    assert len([system for system in terms.cached_code_systems() if system.url == S]) == 1


def test_of_several_versions_the_newest_counts(api: Api) -> None:
    for version, code in (("1.9", "old"), ("1.10", "new"), ("1.2", "older")):
        api.created(ANIMALS | {"version": version, "concept": [{"code": code}]})
    api.created(WHOLE)
    assert expanded(api) == ["new"]


def test_what_is_stored_comes_before_r4(api: Api) -> None:
    gender = "http://hl7.org/fhir/administrative-gender"
    api.created(ANIMALS | {"url": gender, "version": "99"})
    answer = api.get(f"CodeSystem/$lookup?system={gender}&code=cat")
    assert answer.status_code == 200
    # what is bound as |4.0.1 is that of R4, whatever clients store
    patient = {"resourceType": "Patient", "gender": "male"}
    assert api.post("Patient", patient).status_code == 201


def test_a_code_system_whose_url_is_not_indexed_is_found_too(template: Any, tmp_path: Any) -> None:
    api = template.fresh(tmp_path / "own.db")
    api.created(ANIMALS)
    bare = replace(api.ctx.registry, indexed_types={})
    assert [f.version for f in StoredTerminology(api.ctx.store, bare).find("CodeSystem", S)] == ["1.0"]
    api.ctx.store.close()


def test_copies_of_packages_resources_are_not_taken_for_a_client_s(template: Any, tmp_path: Any) -> None:
    api = template.fresh(tmp_path / "owned.db")
    made = api.created(ANIMALS)
    terms = StoredTerminology(api.ctx.store, api.ctx.registry, {f"CodeSystem/{made['id']}"})
    assert terms.find("CodeSystem", S) == []
    assert list(terms.all("CodeSystem")) == []
    api.ctx.store.close()


def test_a_stored_supplement_is_no_system_of_codings(api: Api, other: Api) -> None:
    """Validation notices it with the next write."""
    coding = {"system": "urn:supplement", "code": "a"}
    tagged = {"resourceType": "Basic", "code": {"coding": [coding]}}
    assert api.post("Basic", tagged).status_code == 201
    supplement = {
        "resourceType": "CodeSystem",
        "url": "urn:supplement",
        "status": "active",
        "content": "supplement",
        "supplements": "urn:base",
        "concept": [{"code": "a"}],
    }
    assert api.put("CodeSystem/s", supplement | {"id": "s"}).status_code == 201

    answer = other.post("Basic", tagged)

    assert answer.status_code == 422
    assert answer.get_json()["issue"][0]["expression"] == ["Basic.code.coding[0].system"]
    assert api.delete("CodeSystem/s").status_code == 204
    assert api.post("Basic", tagged).status_code == 201
