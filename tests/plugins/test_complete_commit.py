"""The hook `complete_commit`: what a plugin adds to a commit is stored with it, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.api import Api, Template, issue, patient

from fhirstore.http.app import make_app
from fhirstore.plugins import Record
from fhirstore.plugins.manager import Plugins

Install = Callable[[str, str], None]

SOURCE = """
from fhirstore.plugins import Record, RecordGuard, Write, hookimpl, resource_of

seen = []

@hookimpl
def complete_commit(commit, context):
    seen.append([(w.interaction, w.type) for w in commit.writes])
    patients = [w for w in commit.writes if w.type == "Patient"]
    if not patients:
        return
    before = context.records.get("clinic-count", "n")
    commit.add(RecordGuard("clinic-count", "n", before), Record("clinic-count", "n", str(len(seen)).encode()))
    if len(seen) == 1 and patients[0].resource and patients[0].resource.get("gender") == "other":
        context.records.commit([Record("clinic-count", "n", b"a rival")])
    for write in patients:
        basic = context.reader.current("Basic", "b")
        link = {"reference": "Patient/" + write.id}
        body = {"resourceType": "Basic", "id": "b", "code": {"text": "last"}, "subject": link}
        if write.resource and write.resource.get("language") == "xx":
            body["code"] = "wrong"
        own = commit.written("Basic", "b")
        commit.additional_writes.append(own.with_resource(body) if own else Write("update", "Basic", "b", body, basic))
"""


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.make()


@pytest.fixture
def api(template: Template, tmp_path: Path, installed: Install) -> Api:
    installed("clinic", SOURCE)
    plain = template.fresh(tmp_path / "t.db")
    ctx = replace(plain.ctx, plugins=Plugins.load(["clinic"]))
    return Api(make_app(ctx), ctx)


def subject(api: Api) -> str:
    found: str = api.get("Basic/b").get_json()["subject"]["reference"]
    return found


def test_a_further_write_is_stored_with_history_and_index(api: Api) -> None:
    one, two = (api.created(patient(name)) for name in ("A", "B"))
    assert subject(api) == f"Patient/{two['id']}"
    assert api.get("Basic/b").headers["ETag"] == 'W/"2"'
    assert api.get("Basic/b/_history").get_json()["total"] == 2
    assert api.ids(f"Basic?subject=Patient/{two['id']}") == ["b"]
    assert api.ids(f"Basic?subject=Patient/{one['id']}") == []


def test_the_answer_is_that_of_what_was_asked_for(api: Api) -> None:
    answer = api.post("Patient", patient())
    assert answer.get_json()["resourceType"] == "Patient"
    assert "/Patient/" in answer.headers["Location"]
    assert api.delete(f"Patient/{answer.get_json()['id']}").status_code == 204
    assert api.get("Basic/b").headers["ETag"] == 'W/"1"'  # the deletion added the same Basic: no new version


def test_a_further_write_that_is_wrong_refuses_all(api: Api) -> None:
    answer = api.post("Patient", patient(language="xx"))
    assert answer.status_code == 422
    assert issue(answer)["diagnostics"].startswith("Basic/b, which changes with this resource, is refused: ")
    assert api.ids("Patient") == []
    assert api.ctx.store.records("clinic-count") == []


def test_it_takes_the_place_of_a_write_of_the_same_resource(api: Api) -> None:
    basic = {"resourceType": "Basic", "id": "b", "code": {"text": "by the client"}}
    entries = [
        {"resource": patient(), "request": {"method": "POST", "url": "Patient"}},
        {"resource": basic, "request": {"method": "PUT", "url": "Basic/b"}},
    ]
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert [e["response"]["status"][:3] for e in answer.get_json()["entry"]] == ["201", "201"]
    found = api.get("Basic/b").get_json()
    assert (found["code"]["text"], found["meta"]["versionId"]) == ("last", "1")


def test_a_guard_that_does_not_hold_has_all_planned_again(api: Api) -> None:
    import clinic_module  # type: ignore[import-not-found]

    answer = api.post("Patient", patient(gender="other"))
    assert answer.status_code == 201
    assert clinic_module.seen == [[("create", "Patient")]] * 2
    assert api.ctx.store.records("clinic-count") == [Record("clinic-count", "n", b"2")]


def test_it_is_not_called_for_what_changes_nothing(api: Api) -> None:
    import clinic_module

    one = api.created(patient())
    clinic_module.seen.clear()
    assert api.put(f"Patient/{one['id']}", one).status_code == 200
    assert clinic_module.seen == []
