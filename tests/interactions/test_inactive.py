"""Subscriptions, which the server does not act on: they are refused in every way of writing, or stored by setting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.api import Api

Json = dict[str, Any]


def subscription(status: str = "requested", **more: Any) -> Json:
    return {
        "resourceType": "Subscription",
        "status": status,
        "reason": "test",
        "criteria": "Slot?status=free",
        "channel": {"type": "rest-hook", "endpoint": "https://example.org/hook"},
        **more,
    }


def entry(method: str, url: str, resource: Json) -> Json:
    return {"resource": resource, "request": {"method": method, "url": url}}


@pytest.mark.parametrize("status", ["requested", "active"])
def test_a_subscription_that_asks_for_notifications_is_refused(api: Api, status: str) -> None:
    for answer in (
        api.post("Subscription", subscription(status)),
        api.put("Subscription/s1", subscription(status, id="s1")),
        api.put("Subscription?url=https://example.org/hook", subscription(status)),
        api.post("", bundle("transaction", entry("POST", "Subscription", subscription(status)))),
    ):
        assert answer.status_code == 422, answer.text
        (issue,) = answer.get_json()["issue"]
        assert (issue["severity"], issue["code"]) == ("error", "not-supported")
        assert issue["expression"][0].endswith(".status")
        assert "inactive_resources" in issue["diagnostics"]
    assert api.get("Subscription?_summary=count").get_json()["total"] == 0


def bundle(kind: str, *entries: Json) -> Json:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def test_in_a_batch_the_other_entries_are_stored(api: Api) -> None:
    patient = entry("POST", "Patient", {"resourceType": "Patient"})
    answer = api.post("", bundle("batch", entry("POST", "Subscription", subscription()), patient)).get_json()
    assert [e["response"]["status"][:3] for e in answer["entry"]] == ["422", "201"]


def test_validate_reports_it(api: Api) -> None:
    codes = {i["code"] for i in api.post("Subscription/$validate", subscription()).get_json()["issue"]}
    assert "not-supported" in codes


@pytest.mark.parametrize("status", ["off", "error"])
def test_a_subscription_that_asks_for_nothing_is_stored(api: Api, status: str) -> None:
    assert api.post("Subscription", subscription(status)).status_code == 201


def test_the_setting_stores_all(make_api: Callable[..., Api]) -> None:
    api = make_api(inactive_resources="store")
    assert api.post("Subscription", subscription("active")).status_code == 201


def test_without_validation_it_is_refused_all_the_same(make_api: Callable[..., Api]) -> None:
    api = make_api(validation="off")
    assert api.post("Subscription", subscription()).status_code == 422
