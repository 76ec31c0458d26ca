"""The services of plugins: resources are read only, records stay in the plugin's namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Template, patient

from fhirstore.errors import FhirError
from fhirstore.plugins import (
    MATCH_ALL,
    GuardChanged,
    PluginContext,
    Record,
    RecordGuard,
    Reference,
    Sort,
    StoreError,
    Token,
)
from fhirstore.plugins.manager import Plugins


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.make()


@pytest.fixture
def api(template: Template, tmp_path: Path) -> Iterator[Api]:
    api = template.fresh(tmp_path / "t.db")
    yield api
    api.ctx.store.close()


@pytest.fixture
def context(api: Api) -> PluginContext:
    return api.ctx.contexts.of("clinic")


# --- reading ----------------------------------------------------------------------------------------


def test_a_deleted_resource_is_not_read_but_its_version_is_known(api: Api, context: PluginContext) -> None:
    id = api.created(patient())["id"]
    found = context.reader.read("Patient", id)
    assert found is not None
    assert found.version == 1
    api.delete(f"Patient/{id}")
    assert context.reader.read("Patient", id) is None
    gone = context.reader.current("Patient", id)
    assert gone is not None
    assert (gone.deleted, gone.version) == (True, 2)
    assert context.reader.current("Patient", "never") is None


def test_resources_are_found_counted_and_followed(api: Api, context: PluginContext) -> None:
    one, two = (api.created(patient(gender=gender))["id"] for gender in ("male", "female"))
    api.created({"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": f"Patient/{one}"}})
    reader = context.reader
    assert [s.id for s in reader.find("Patient", Token("gender", None, "male")).entries] == [one]
    assert reader.count("Patient", MATCH_ALL) == 2
    assert reader.count("Patient", MATCH_ALL, at_most=1) == 1
    assert {s.id for s in reader.read_many([f"Patient/{one}", f"Patient/{two}", "Patient/x"])} == {one, two}
    basics = reader.find("Basic", Reference("subject", (f"Patient/{one}",))).entries
    assert reader.references(basics, "subject") == [f"Patient/{one}"]
    assert reader.with_snapshot(lambda: reader.count("Basic", MATCH_ALL)) == 1


def test_a_page_follows_another_with_a_signed_token(api: Api, context: PluginContext) -> None:
    for _ in range(3):
        api.created(patient())
    order = (Sort("_id"),)
    first = context.reader.find("Patient", MATCH_ALL, order, limit=2)
    assert first.next is not None
    token = context.page_token("http://clinic/list", [("ward", "a")], first.next)
    position = context.page_position("http://clinic/list", [("ward", "a")], token)
    rest = context.reader.find("Patient", MATCH_ALL, order, after=position)
    assert len({s.id for s in (*first.entries, *rest.entries)}) == 3
    with pytest.raises(FhirError):
        context.page_position("http://clinic/list", [("ward", "b")], token)


def test_the_reader_and_the_context_give_no_way_to_write_resources(context: PluginContext) -> None:
    public = {name for one in (context, context.reader) for name in dir(one) if not name.startswith("_")}
    assert public == {
        *("configuration", "jobs", "page_position", "page_token", "plugin", "reader", "records", "registry"),
        *("count", "current", "find", "read", "read_many", "references", "with_snapshot"),
    }


# --- records ----------------------------------------------------------------------------------------


def test_records_are_stored_read_listed_and_deleted(context: PluginContext) -> None:
    records = context.records
    assert records.get("clinic-bed", "1") is None
    records.commit([Record("clinic-bed", "1", b"a"), Record("clinic-bed", "2", b"b"), Record("clinic", "x", b"c")])
    assert records.get("clinic-bed", "1") == b"a"
    assert [r.key for r in records.list("clinic-bed")] == ["1", "2"]
    assert [r.key for r in records.list("clinic-bed", after="1", limit=1)] == ["2"]
    records.commit([Record("clinic-bed", "1", None)])
    assert records.get("clinic-bed", "1") is None


def test_a_guard_refuses_a_record_that_has_changed(context: PluginContext) -> None:
    turn = Record("clinic-turn", "turn", b"me")
    context.records.commit([turn], [RecordGuard("clinic-turn", "turn", None)])
    with pytest.raises(GuardChanged):
        context.records.commit([turn], [RecordGuard("clinic-turn", "turn", None)])


@pytest.mark.parametrize("kind", ["sas-bed", "clinics", "clinicbed", ""])
def test_records_of_others_are_out_of_reach(context: PluginContext, kind: str) -> None:
    with pytest.raises(ValueError, match="belongs to another plugin"):
        context.records.get(kind, "1")
    with pytest.raises(ValueError, match="belongs to another plugin"):
        context.records.list(kind)
    with pytest.raises(ValueError, match="belongs to another plugin"):
        context.records.commit([Record(kind, "1", b"a")])
    with pytest.raises(ValueError, match="belongs to another plugin"):
        context.records.commit([Record("clinic", "1", b"a")], [RecordGuard(kind, "1", None)])


# --- without a server -------------------------------------------------------------------------------


def test_a_command_without_store_or_statement_says_what_is_missing() -> None:
    context = Plugins().contexts().of("clinic")
    with pytest.raises(StoreError, match="no store"):
        _ = context.reader
    with pytest.raises(StoreError, match="no store"):
        _ = context.records
    with pytest.raises(LookupError, match="no CapabilityStatement"):
        _ = context.registry
