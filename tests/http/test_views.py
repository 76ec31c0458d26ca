"""Searches with a view of a plugin: what is shown is right, however often and in whatever order it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, patient

from fhirstore.http.app import make_app
from fhirstore.plugins import (
    Query,
    ResourceView,
    SearchEntry,
    SearchResponse,
    ViewedResponse,
    hookimpl,
)
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins

MakeApi = Callable[..., Api]


class Viewing:
    """Searches with `_security=NAME` have the view of its first letter: it shows that letter as profile, of patients
    born in 2000 the whole name, and none called "Secret"; the answer leaves out those called "Left"."""

    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    def rewrite_search(self, query: Query) -> Query | None:
        tag = next((value for name, value in query.params if name == "_security"), None)
        return None if tag is None else replace(query, view=ResourceView(tag[0], self.show(tag), self.finish))

    def show(self, tag: str) -> Callable[[SearchEntry], bool]:
        def show(entry: SearchEntry) -> bool:
            self.calls += 1
            if b"Secret" in entry.body:
                return False
            entry.varies = b"2000" in entry.body
            entry.meta = json.dumps({"profile": [f"http://x/{tag if entry.varies else tag[0]}"]})[1:-1].encode()
            return True

        return show

    @staticmethod
    def finish(shown: ViewedResponse) -> None:
        shown.total = len(shown.matches) * 100 + len(shown.hidden)
        shown.profile = "http://x/bundle"
        shown.left_out.update(one.ref for one in shown.matches if b"Left" in one.body)


class Returning:
    @hookimpl
    def before_return(self, response: SearchResponse) -> None:
        for entry in response.entries:
            entry.body += b',"language":"fr"'


def with_plugins(api: Api, *plugins: object) -> Api:
    ctx = replace(api.ctx, plugins=Plugins([LoadedPlugin(f"p{n}", "p", one) for n, one in enumerate(plugins)]))
    return Api(make_app(ctx), ctx)


def put(api: Api, id: str, family: str, **more: Any) -> None:
    security = {"security": [{"code": "alpha"}, {"code": "apricot"}, {"code": "beta"}]}
    resource = patient(family, **more) | {"id": id, "meta": security}
    assert api.put(f"Patient/{id}", resource).status_code in (200, 201)


def shown(api: Api, query: str) -> dict[str, str]:
    """Family -> profile shown."""
    entries = api.get(f"Patient?{query}").get_json().get("entry", [])
    return {e["resource"]["name"][0]["family"]: e["resource"]["meta"]["profile"][0][9:] for e in entries}


@pytest.fixture
def viewing() -> Viewing:
    return Viewing()


@pytest.fixture(params=[1024 * 1024, 0], ids=["kept", "not kept"])
def api(make_api: MakeApi, viewing: Viewing, request: pytest.FixtureRequest) -> Api:
    api = with_plugins(make_api(cache_bytes=request.param), viewing)
    put(api, "a", "Martin")
    put(api, "b", "Secret")
    put(api, "c", "Left")
    put(api, "d", "Varies", birthDate="2000-01-01")
    return api


def test_each_view_shows_its_own_again_and_again(api: Api) -> None:
    for _ in range(2):
        assert shown(api, "_security=alpha") == {"Martin": "a", "Varies": "alpha"}
        assert shown(api, "_security=beta") == {"Martin": "b", "Varies": "beta"}


def test_what_depends_on_the_request_is_not_kept(api: Api) -> None:
    for tag in ("alpha", "apricot", "alpha"):
        assert shown(api, f"_security={tag}") == {"Martin": "a", "Varies": tag}


def test_an_update_is_shown_at_once(api: Api) -> None:
    shown(api, "_security=alpha")
    put(api, "a", "Secret")
    put(api, "b", "Public")
    assert shown(api, "_security=alpha") == {"Public": "a", "Varies": "alpha"}


def test_the_view_counts_and_stamps_the_answer_as_a_whole(api: Api) -> None:
    for _ in range(2):
        answer = api.get("Patient?_security=alpha").get_json()
        assert (answer["total"], answer["meta"]["profile"]) == (301, ["http://x/bundle"])


def test_what_is_kept_holds_no_base_of_another_request(api: Api) -> None:
    for host in ("localhost:81", "127.0.0.1:82"):
        [entry, _] = api.get("Patient?_security=alpha", Host=host).get_json()["entry"]
        assert entry["fullUrl"] == f"http://{host}/fhir/Patient/a"


def test_a_search_without_view_shows_what_is_stored(api: Api) -> None:
    shown(api, "_security=alpha")
    for _ in range(2):
        answer = api.get("Patient?_id=a,b").get_json()
        assert [e["resource"] for e in answer["entry"]] == [api.get(f"Patient/{id}").get_json() for id in "ab"]


def test_elements_are_cut_from_what_the_view_shows(api: Api) -> None:
    for _ in range(2):
        answer = api.get("Patient?_security=alpha&_elements=birthDate").get_json()
        assert [sorted(e["resource"]) for e in answer["entry"]] == [
            ["id", "meta", "resourceType"],
            ["birthDate", "id", "meta", "resourceType"],
        ]
        assert answer["entry"][0]["resource"]["meta"]["profile"] == ["http://x/a"]
        assert shown(api, "_security=alpha") == {"Martin": "a", "Varies": "alpha"}


def test_another_plugin_changes_the_answer_only(api: Api, viewing: Viewing) -> None:
    both = with_plugins(api, viewing, Returning())
    for _ in range(2):
        entries = both.get("Patient?_security=alpha").get_json()["entry"]
        assert [e["resource"]["language"] for e in entries] == ["fr", "fr"]
        assert shown(both, "_security=alpha") == {"Martin": "a", "Varies": "alpha"}
    entries = api.get("Patient?_security=alpha").get_json()["entry"]
    assert not any("language" in e["resource"] for e in entries)


def test_a_view_is_asked_once_for_what_is_kept(api: Api, viewing: Viewing) -> None:
    shown(api, "_security=alpha")
    viewing.calls = 0
    shown(api, "_security=alpha")
    assert viewing.calls == (1 if api.ctx.settings.cache_bytes else 4)
