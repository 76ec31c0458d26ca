"""`$validate` with a mode asks what the interaction would answer, plugins and unique keys too, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template, patient

from fhirstore.http.app import make_app
from fhirstore.plugins.manager import Plugins

SOURCE = """
from fhirstore.plugins import Record, error, hookimpl

@hookimpl
def before_commit(write):
    for identifier in (write.resource or {}).get("identifier", []):
        write.unique.append("number|" + identifier["value"])
    if write.interaction == "delete":
        write.records.append(Record("numbers-deleted", write.id, b""))

@hookimpl
def complete_commit(commit, context):
    for write in commit.writes:
        if write.interaction == "delete" and context.reader.read(write.type, write.id).body.find(b"other") > 0:
            raise error(409, "conflict", "Others cannot be deleted.")
"""
NARRATIVE = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Anne</div>'}
ALL_OK = [("information", "informational")]
TAKEN = [("error", "duplicate")]


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.make()


@pytest.fixture
def api(template: Template, tmp_path: Path, installed: Callable[[str, str], None]) -> Api:
    installed("numbers", SOURCE)
    plain = template.fresh(tmp_path / "t.db")
    ctx = replace(plain.ctx, plugins=Plugins.load(["numbers"]))
    return Api(make_app(ctx), ctx)


def numbered(value: str, **more: Any) -> dict[str, Any]:
    return patient(text=NARRATIVE, identifier=[{"value": value}], **more)


def told(api: Api, path: str, resource: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    answer = api.call("POST", path, resource)
    assert answer.status_code == 200, answer.text
    return [(i["severity"], i["code"]) for i in answer.get_json()["issue"]]


def test_a_unique_key_that_is_taken(api: Api) -> None:
    holder = api.created(numbered("1"))
    assert told(api, "Patient/$validate?mode=create", numbered("1")) == TAKEN
    assert told(api, "Patient/$validate?mode=create", numbered("2")) == ALL_OK
    assert told(api, "Patient/$validate?mode=update", numbered("1", id="x")) == TAKEN
    assert told(api, "Patient/$validate?mode=update", holder | {"gender": "male"}) == ALL_OK
    assert api.ids("Patient") == [holder["id"]]


def test_a_deletion_that_a_plugin_refuses(api: Api) -> None:
    one, other = (api.created(numbered(gender, gender=gender)) for gender in ("male", "other"))
    assert told(api, f"Patient/{one['id']}/$validate?mode=delete") == ALL_OK
    assert told(api, f"Patient/{other['id']}/$validate?mode=delete") == [("error", "conflict")]
    assert len(api.ids("Patient")) == 2
    assert api.ctx.store.records("numbers-deleted") == []


def test_a_version_that_is_no_more_the_current_one(api: Api) -> None:
    first = api.created(numbered("1"))
    assert api.put(f"Patient/{first['id']}", first | {"gender": "male"}).status_code == 200
    stale = [("warning", "conflict")]
    assert told(api, "Patient/$validate?mode=update", first) == stale
    assert told(api, f"Patient/{first['id']}/$validate?mode=update", first) == stale
    assert told(api, "Patient/$validate?mode=update", first | {"meta": {"versionId": "2"}}) == ALL_OK
    assert told(api, "Patient/$validate?mode=update", first | {"meta": {}, "text": NARRATIVE})[0][0] == "error"
