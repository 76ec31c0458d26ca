"""Every limit is a setting, and its message names the setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.api import Api, issue, patient
from support.bundles import bundle, request

Make = Callable[..., Api]


def family(api: Api, children: int) -> None:
    api.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "x"})
    for n in range(children):
        api.put(f"Patient/p{n}", patient(id=f"p{n}", managingOrganization={"reference": "Organization/o"}))


def test_too_many_included_resources_are_refused(make_api: Make) -> None:
    api = make_api(max_includes=3)
    family(api, 4)
    answer = api.get("Organization?_revinclude=Patient:organization")
    assert answer.status_code == 422
    assert "max_includes" in issue(answer)["diagnostics"]
    assert len(api.get("Organization?_id=o").get_json()["entry"]) == 1


def test_a_page_is_never_larger_than_the_greatest_count(make_api: Make) -> None:
    api = make_api(max_count=2, default_count=1)
    family(api, 3)
    assert len(api.ids("Patient?_count=1000")) == 2
    assert len(api.ids("Patient")) == 1


def test_too_many_values_of_a_parameter_are_refused(make_api: Make) -> None:
    api = make_api(max_url_values=3)
    answer = api.get("Patient?_id=a,b,c,d")
    assert answer.status_code == 422
    assert "max_url_values" in issue(answer)["diagnostics"]
    assert api.get("Patient?_id=a,b,c").status_code == 200


def test_nesting_is_limited_by_a_setting(make_api: Make) -> None:
    api = make_api(max_nesting=5)
    deep: dict[str, Any] = {"url": "http://example.org/x"}
    for _ in range(4):
        deep = {"url": "http://example.org/x", "extension": [deep]}
    answer = api.post("Patient", patient(extension=[deep]))
    assert answer.status_code == 422
    assert "max_nesting" in issue(answer)["diagnostics"]


def test_totals_beyond_the_limit_are_left_out_until_they_are_asked_for(make_api: Make) -> None:
    api = make_api(total_limit=2)
    family(api, 4)
    assert "total" not in api.get("Patient?_count=1").get_json()
    assert api.get("Patient?_count=1&_total=accurate").get_json()["total"] == 4
    assert "total" not in api.get("Patient?_count=1&_total=none").get_json()
    assert api.get("Patient?_count=10").get_json()["total"] == 4


@pytest.mark.parametrize("kind", ["read", "search", "create", "batch"])
def test_a_request_after_its_deadline_is_refused_and_may_be_repeated(make_api: Make, kind: str) -> None:
    api = make_api(request_timeout_s=-1.0)
    answer = {
        "read": lambda: api.get("Patient/a"),
        "search": lambda: api.get("Patient"),
        "create": lambda: api.post("Patient", patient()),
        "batch": lambda: api.post("", bundle(request("POST", "Patient", patient()), kind="batch")),
    }[kind]()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert issue(answer)["code"] == "timeout"
    assert "request_timeout_s" in issue(answer)["diagnostics"]
    assert api.ctx.store.history_count() == 0
