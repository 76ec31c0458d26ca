"""https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.api import Api, issue, patient


def versions(answer: Any) -> list[str]:
    """ "id/version" of each entry."""
    return [
        e["fullUrl"].rsplit("/", 1)[1] + "/" + e["response"]["etag"][3:-1] for e in answer.get_json().get("entry", [])
    ]


@pytest.fixture
def three(api: Api) -> Api:
    """a: versions 1, 2, deleted as 3; b: version 1."""
    api.put("Patient/a", patient(id="a"))
    api.put("Patient/b", patient(id="b"))
    api.put("Patient/a", patient(id="a", active=True))
    api.delete("Patient/a")
    return api


def test_the_history_of_a_resource_is_newest_first(three: Api) -> None:
    answer = three.get("Patient/a/_history")
    bundle = answer.get_json()
    assert bundle["type"] == "history"
    assert bundle["total"] == 3
    assert versions(answer) == ["a/3", "a/2", "a/1"]
    methods = [(e["request"]["method"], e["request"]["url"], e["response"]["status"][:3]) for e in bundle["entry"]]
    assert methods == [("DELETE", "Patient/a", "204"), ("PUT", "Patient/a", "200"), ("PUT", "Patient/a", "201")]
    assert "resource" not in bundle["entry"][0]
    assert bundle["entry"][1]["resource"]["active"] is True
    assert bundle["entry"][1]["resource"]["meta"]["versionId"] == "2"


def test_type_and_system_history(three: Api) -> None:
    three.put("Organization/o", {"resourceType": "Organization", "id": "o", "name": "x"})
    assert versions(three.get("Patient/_history")) == ["a/3", "a/2", "b/1", "a/1"]
    assert versions(three.get("_history")) == ["o/1", "a/3", "a/2", "b/1", "a/1"]


def test_history_pages_meet_without_gap_or_overlap(three: Api) -> None:
    seen, url = [], "Patient/_history?_count=2"
    while url:
        answer = three.get(url)
        seen.append(versions(answer))
        url = next((link["url"] for link in answer.get_json()["link"] if link["relation"] == "next"), "")
        three.put("Patient/b", patient(id="b", active=len(seen) % 2 == 0))  # written meanwhile: must not shift pages
    assert seen == [["a/3", "a/2"], ["b/1", "a/1"]]


def test_a_resource_that_a_client_posted_has_the_url_of_its_type(api: Api) -> None:
    created = api.created(patient())
    request = api.get(f"Patient/{created['id']}/_history").get_json()["entry"][0]["request"]
    assert request == {"method": "POST", "url": "Patient"}


def test_every_page_has_the_total_of_the_first(three: Api) -> None:
    first = three.get("Patient/_history?_count=3").get_json()
    three.put("Patient/c", patient(id="c"))
    second = three.get(first["link"][1]["url"]).get_json()
    assert (first["total"], second["total"]) == (4, 4)
    assert len(second["entry"]) == 1
    assert [link["relation"] for link in second["link"]] == ["self"]


def test_pages_keep_their_size_and_their_parameters(three: Api) -> None:
    url = three.get("Patient/_history?_since=2000-01-01&_count=1").get_json()["link"][1]["url"]
    assert "_since=2000-01-01" in url
    assert "_count=1&" in url
    answer = three.get(url)
    assert versions(answer) == ["a/2"]
    assert len(answer.get_json()["link"]) == 2


@pytest.mark.parametrize("path", ["Patient/a/_history", "Patient/_history", "_history"])
def test_a_count_of_zero_gives_the_total_alone(three: Api, path: str) -> None:
    total = three.get(path).get_json()["total"]
    answer = three.get(f"{path}?_count=0").get_json()
    assert (answer["total"], answer.get("entry"), [link["relation"] for link in answer["link"]]) == (
        total,
        None,
        ["self"],
    )


@pytest.mark.parametrize("more", ["", "&_at=2000"])
def test_a_count_of_zero_of_what_never_existed_is_404(api: Api, more: str) -> None:
    assert api.get(f"Patient/none/_history?_count=0{more}").status_code == 404


def test_a_count_of_zero_has_no_versions_of_a_time(three: Api) -> None:
    assert three.get("Patient/_history?_at=2100").get_json()["entry"]
    assert "entry" not in three.get("Patient/_history?_at=2100&_count=0").get_json()


def test_the_total_counts_what_since_leaves(three: Api) -> None:
    assert three.get("Patient/_history?_since=2999-01-01").get_json()["total"] == 0


def test_a_page_has_at_most_max_count_entries(make_api: Callable[..., Api]) -> None:
    api = make_api(max_count=2)
    for id in "abc":
        api.put(f"Patient/{id}", patient(id=id))
    assert len(api.get("Patient/_history?_count=50").get_json()["entry"]) == 2


def test_what_never_existed_has_no_history(api: Api) -> None:
    assert api.get("Patient/none/_history").status_code == 404
    assert api.get("Patient/_history").get_json()["total"] == 0


@pytest.mark.parametrize(
    ("count", "pages"), [(1, [["a/3"], ["a/2"], ["b/1"], ["a/1"]]), (2, [["a/3", "a/2"], ["b/1", "a/1"]])]
)
def test_pages_of_versions_current_at_a_time_have_no_gap(three: Api, count: int, pages: list[list[str]]) -> None:
    day = three.get("Patient/a/_history").get_json()["entry"][0]["response"]["lastModified"][:10]
    seen, url = [], f"Patient/_history?_at={day}&_count={count}"
    while url:
        answer = three.get(url)
        seen.append(versions(answer))
        url = next((link["url"] for link in answer.get_json()["link"] if link["relation"] == "next"), "")
    assert [page for page in seen if page] == pages


def test_since_leaves_older_versions_out(three: Api) -> None:
    moment = three.get("Patient/a/_history").get_json()["entry"][1]["response"]["lastModified"]
    found = versions(three.get(f"Patient/a/_history?_since={moment}"))
    assert "a/3" in found
    assert "a/2" in found
    assert versions(three.get("Patient/a/_history?_since=2999-01-01")) == []


def test_at_gives_the_versions_current_then(three: Api) -> None:
    assert versions(three.get("Patient/a/_history?_at=2999-01-01")) == ["a/3"]
    assert versions(three.get("Patient/a/_history?_at=1999-01-01")) == []
    day = three.get("Patient/a/_history").get_json()["entry"][0]["response"]["lastModified"][:10]
    assert versions(three.get(f"Patient/a/_history?_at={day}")) == ["a/3", "a/2", "a/1"]


@pytest.mark.parametrize(
    "query", ["_since=yesterday", "_count=x", "_count=-1", "_page=abc", "_page=%00", "_at=2023-02-30"]
)
def test_bad_history_parameters_are_refused(three: Api, query: str) -> None:
    answer = three.get(f"Patient/a/_history?{query}")
    assert answer.status_code == 400
    assert issue(answer)["expression"]


def test_a_page_token_of_another_history_is_refused(three: Api) -> None:
    link = three.get("Patient/_history?_count=1").get_json()["link"][1]["url"]
    token = link.split("_page=")[1]
    assert three.get(f"_history?_count=1&_page={token}").status_code == 400
