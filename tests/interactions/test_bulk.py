"""Loading many resources at once: the rules of a write hold for each of them."""

from __future__ import annotations

from typing import Any

import pytest
from support.api import Api, patient, serving

from fhirstore.interactions.bulk import put_many


def test_a_type_or_an_interaction_that_is_not_served_is_refused(api: Api) -> None:
    served = api.ctx.registry.types["Patient"].interactions - {"create"}
    without = serving(api, "Patient", interactions=served)
    found = list(put_many(without.ctx, [patient(), patient(id="a"), {"resourceType": "Nothing", "id": "b"}]))
    assert [(ref, issues and issues[0].code) for ref, issues in found] == [
        ("Patient", "not-supported"),
        ("Patient/a", None),
        ("Nothing/b", "not-supported"),
    ]
    assert api.ids("Patient") == ["a"]


def test_a_group_that_another_writer_interrupts_is_planned_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, waiting = type(api.ctx.store).commit, [lambda: api.put("Patient/a", patient("Other", id="a"))]

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if waiting:
            waiting.pop()()
        return commit(*arguments, **named)

    monkeypatch.setattr(type(api.ctx.store), "commit", interrupted)
    found = list(put_many(api.ctx, [patient(id="a"), patient(gender="x"), patient(id="b")]))
    assert [(ref, issues is None) for ref, issues in found] == [
        ("Patient/a", True),
        ("Patient", False),
        ("Patient/b", True),
    ]
    assert api.get("Patient/a").headers["ETag"] == 'W/"2"'
    assert sorted(api.ids("Patient")) == ["a", "b"]
