"""Every limit is a setting, and its message names the setting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.api import Api, issue, patient

from fhirstore.definitions.core import Definitions
from fhirstore.http.app import make_app
from fhirstore.http.views import RunningSearches
from fhirstore.interactions.subset import Subset

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


def test_a_response_is_limited_in_bytes(make_api: Make) -> None:
    api = make_api(max_response_bytes=3000)
    for n in range(4):
        api.put(f"Patient/p{n}", patient("x" * 900, id=f"p{n}"))
        api.put("Patient/p", patient("y" * 900, id="p", active=n % 2 == 0))
    for path in ("Patient", "Patient/_history", "Patient/p/_history", "_history"):
        answer = api.get(path)
        assert answer.status_code == 422, path
        assert (issue(answer)["code"], "max_response_bytes" in issue(answer)["diagnostics"]) == ("too-costly", True)
        assert api.get(f"{path}?_count=1").status_code == 200
    assert api.get("Patient?_elements=id").status_code == 200


def entries_of(api: Api, type: str, *entries: dict[str, Any], **headers: str) -> list[str]:
    """The statuses of the entries of a response."""
    answer = api.post("", {"resourceType": "Bundle", "type": type, "entry": entries}, **headers)
    if answer.status_code != 200:
        return [str(answer.status_code)]
    assert len(answer.data) < 8000
    return [entry["response"]["status"][:3] for entry in answer.get_json()["entry"]]


def test_reads_that_do_not_fit_in_the_response_of_a_batch_are_refused_and_writes_are_done(make_api: Make) -> None:
    api = make_api(max_response_bytes=3000)
    api.put("Patient/p", patient("x" * 900, id="p"))
    read = {"request": {"method": "GET", "url": "Patient/p"}}
    write = {"resource": patient("y" * 900), "request": {"method": "POST", "url": "Patient"}}
    assert entries_of(api, "batch", *[read] * 5, write, read) == ["200"] * 2 + ["422"] * 3 + ["201", "422"]
    written = entries_of(api, "batch", *[write] * 6, read, Prefer="return=representation")
    assert written == ["201"] * 6 + ["422"]
    assert api.get("Patient?_summary=count").get_json()["total"] == 8


def test_a_transaction_whose_reads_do_not_fit_in_the_response_changes_nothing(make_api: Make) -> None:
    api = make_api(max_response_bytes=3000)
    api.put("Patient/p", patient("x" * 900, id="p"))
    read = {"request": {"method": "GET", "url": "Patient/p"}}
    write = {"resource": patient(), "request": {"method": "POST", "url": "Patient"}}
    assert entries_of(api, "transaction", *[read] * 2, write) == ["200", "200", "201"]
    assert entries_of(api, "transaction", *[read] * 5) == ["422"]
    assert entries_of(api, "transaction", *[read] * 5, write) == ["422"]
    assert api.get("Patient?_summary=count").get_json()["total"] == 2


# --- running searches


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Api], None]]:
    """Has a thread search, and holds the search until the test ends."""
    found, may_end, threads = threading.Event(), threading.Event(), []

    def hold(api: Api) -> None:
        find = api.ctx.store.find

        def wait(*args: Any, **more: Any) -> Any:
            found.set()
            assert may_end.wait(20)
            return find(*args, **more)

        with monkeypatch.context() as patched:
            patched.setattr(api.ctx.store, "find", wait)
            threads.append(threading.Thread(target=api.client.get, args=("/fhir/Patient",)))
            threads[-1].start()
            assert found.wait(20)

    yield hold
    may_end.set()
    for thread in threads:
        thread.join()


def test_searches_beyond_the_limit_are_refused_and_other_requests_are_not(
    make_api: Make, held: Callable[[Api], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(max_running_searches=1)
    assert api.get("Patient").status_code == 200
    monkeypatch.setattr("fhirstore.http.views.WAIT_FOR_SEARCH_S", 0.0)
    held(api)
    for path in ("Patient", "Patient/_history", "_history"):
        answer = api.get(path)
        assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
        assert "max_running_searches" in issue(answer)["diagnostics"]
    assert api.client.post("/fhir/Patient/_search").status_code == 503
    assert api.get("metadata").status_code == 200
    assert api.created(patient())["id"]


def test_a_search_waits_for_another_one_to_end() -> None:
    searches = RunningSearches(1)
    first = searches.begin()
    began = threading.Event()

    def search() -> None:
        second = searches.begin()
        began.set()
        searches.end(second)

    thread = threading.Thread(target=search)
    thread.start()
    assert not began.is_set()
    searches.end(first)
    thread.join(20)
    assert began.is_set()


def test_the_limit_leaves_one_thread_of_the_server(
    api: Api, held: Callable[[Api], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirstore.http.views.WAIT_FOR_SEARCH_S", 0.0)
    served = Api(make_app(api.ctx, threads=2), api.ctx)
    held(served)
    assert served.get("Patient").status_code == 503


def test_too_many_values_of_a_parameter_are_refused(make_api: Make) -> None:
    api = make_api(max_url_values=3)
    answer = api.get("Patient?_id=a,b,c,d")
    assert answer.status_code == 422
    assert "max_url_values" in issue(answer)["diagnostics"]
    assert api.get("Patient?_id=a,b,c").status_code == 200


@pytest.mark.parametrize(
    ("setting", "query"),
    [
        ("max_search_values", "Patient?_id=a,b&family=c,d"),
        ("max_search_values", "Patient?_elements=a,b,c,d"),
        ("max_value_chars", "Patient?family=abcd"),
        ("max_scanned_values", "Patient?name:contains=a,b,c&family:contains=d"),
    ],
)
def test_values_of_a_search_are_limited_by_settings(make_api: Make, setting: str, query: str) -> None:
    api = make_api(**{setting: 3})
    answer = api.get(query)
    assert answer.status_code == 422
    assert f"setting {setting}" in issue(answer)["diagnostics"]
    assert api.get("Patient?family=abc").status_code == 200


def test_the_names_of_elements_are_read_once_for_a_page(make_api: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 200 000 names and a page of 1 000 resources, reading them for each took 17 seconds."""
    api = make_api()
    family(api, 5)
    read: list[str] = []
    names = Subset._names

    def counted(subset: Subset, core: Definitions, type: str) -> set[str]:
        read.append(type)
        return names(subset, core, type)

    monkeypatch.setattr(Subset, "_names", counted)
    found = api.get("Patient?_elements=name,gender&_include=Patient:organization").get_json()
    assert len(found["entry"]) == 6
    assert read == ["Patient", "Organization"]


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
