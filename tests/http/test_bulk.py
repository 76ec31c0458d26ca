"""Loading many resources: each outcome in order, what is refused does not hold up the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, patient

from fhirstore.interactions.bulk import SIZE, put_many
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.plugins.model import Write


def test_each_resource_has_its_outcome_in_order(api: Api) -> None:
    sent: list[dict[str, Any]] = [
        patient(id="a"),
        patient(gender="x", id="b"),
        {"id": "c"},
        patient(id="a", active=True),
    ]
    found = list(put_many(api.ctx, sent))
    assert [ref for ref, _ in found] == ["Patient/a", "Patient/b", "c", "Patient/a"]
    assert [issues is None for _, issues in found] == [True, False, False, True]
    assert api.get("Patient/a").get_json()["active"] is True
    assert api.get("Patient/b").status_code == 404
    assert sent[0] == patient(id="a")


def test_more_than_a_group_is_stored(api: Api) -> None:
    assert all(issues is None for _, issues in put_many(api.ctx, (patient(id=f"p{n}") for n in range(SIZE + 5))))
    assert api.get("Patient?_summary=count").get_json()["total"] == SIZE + 5


class OneFamilyEach:
    """A plugin that lets each family name be used once."""

    @hookimpl
    def before_commit(self, write: Write) -> None:
        if write.resource:
            write.unique.append("family|" + write.resource["name"][0]["family"])


@pytest.fixture
def unique(api: Api) -> Api:
    plugins = Plugins([LoadedPlugin("test", "test", OneFamilyEach())])
    return replace(api, ctx=replace(api.ctx, plugins=plugins))


def test_a_taken_key_refuses_its_resource_alone(unique: Api) -> None:
    found = list(put_many(unique.ctx, [patient("A", id="a"), patient("A", id="b"), patient("C", id="c")]))
    assert [issues is None for _, issues in found] == [True, False, True]
    assert found[1][1] is not None
    assert found[1][1][0].code == "duplicate"
    assert sorted(unique.ids("Patient")) == ["a", "c"]
