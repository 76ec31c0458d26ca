"""The hook `complete_commit`: what a plugin adds to a commit is stored with it, or nothing is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template, issue, patient

from fhirstore.errors import StartupError
from fhirstore.http.app import make_app
from fhirstore.plugins import Record
from fhirstore.plugins.manager import Plugins

Install = Callable[[str, str], None]

SOURCE = """
from fhirstore.plugins import Record, RecordGuard, Write, hookimpl, resource_of

seen = []

@hookimpl
def complete_commit(commit, store, options):
    seen.append([(w.interaction, w.type) for w in commit.writes])
    patients = [w for w in commit.writes if w.type == "Patient"]
    if not patients:
        return
    before = store.records("count")
    commit.guards.append(RecordGuard("count", "n", before[0].value if before else None))
    commit.records.append(Record("count", "n", str(len(seen)).encode()))
    if len(seen) == 1 and patients[0].resource and patients[0].resource.get("gender") == "other":
        store.commit([], records=[Record("count", "n", b"a rival")])
    for write in patients:
        basic = store.read("Basic", "b")
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
    assert issue(answer)["diagnostics"].startswith("Basic/b, which changes along with this, is refused: ")
    assert api.ids("Patient") == []
    assert api.ctx.store.records("count") == []


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
    assert api.ctx.store.records("count") == [Record("count", "n", b"2")]


def test_it_is_not_called_for_what_changes_nothing(api: Api) -> None:
    import clinic_module

    one = api.created(patient())
    clinic_module.seen.clear()
    assert api.put(f"Patient/{one['id']}", one).status_code == 200
    assert clinic_module.seen == []


OPTIONS = """
from fhirstore.plugins import PluginOption, hookimpl

def seconds(text):
    try:
        float(text)
    except ValueError:
        raise ValueError("a number of seconds is wanted") from None

@hookimpl
def options():
    return [PluginOption("url"), PluginOption("pause", default="5", check=seconds)]
"""


def test_an_option_may_be_any_text(installed: Install) -> None:
    installed("clinic", OPTIONS)
    plugins = Plugins.load(["clinic"])
    assert plugins.options(()) == {"clinic.url": "", "clinic.pause": "5"}
    assert plugins.options(("clinic.url=http://a/?b=c", "clinic.pause = 2"))["clinic.url"] == "http://a/?b=c"


def refusal(plugins: Plugins, *given: Any) -> str:
    with pytest.raises(StartupError) as caught:
        plugins.options(given)
    return str(caught.value)


def test_a_text_that_cannot_be_is_refused_by_name(installed: Install) -> None:
    installed("clinic", OPTIONS)
    plugins = Plugins.load(["clinic"])
    assert refusal(plugins, "clinic.pause=soon") == (
        "plugin_options, clinic.pause: 'soon' is refused: a number of seconds is wanted; the default is '5'."
    )
    assert "clinic.url=…; clinic.pause=…" in refusal(plugins, "clinic.nothing=1")
