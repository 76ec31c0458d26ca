"""OperationOutcomes in the language that Accept-Language prefers, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, issue, patient
from support.fuzz import Generator

from fhirstore.errors import Issue, Message, StartupError, translation
from fhirstore.http.app import make_app
from fhirstore.http.language import preferred
from fhirstore.model.context import RequestContext
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins

FRENCH = {"Accept_Language": "fr-FR,fr;q=0.9,en;q=0.1"}
UNKNOWN = {"resourceType": "Patient", "nme": []}


def test_a_refusal_is_in_french_when_french_is_preferred(api: Api) -> None:
    answer = api.get("Patient/none", **FRENCH)
    assert issue(answer)["diagnostics"] == "Patient/none n'existe pas."
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("fr", "Accept-Language")


@pytest.mark.parametrize("asked", [None, "en", "de", "en-GB,fr;q=0.5", "fr;q=0", "*"])
def test_otherwise_it_is_in_english(api: Api, asked: str | None) -> None:
    answer = api.get("Patient/none", **({"Accept_Language": asked} if asked is not None else {}))
    assert issue(answer)["diagnostics"] == "Patient/none does not exist."
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("en", "Accept-Language")


def test_one_request_in_french_leaves_the_next_in_english(api: Api) -> None:
    api.get("Patient/none", **FRENCH)
    assert translation.get() is None
    assert issue(api.get("Patient/none"))["diagnostics"] == "Patient/none does not exist."


def test_what_the_server_answers_to_bad_input(api: Api) -> None:
    """400 malformed, 409 and 412 about what is stored, 422 refused by a rule with its name."""
    for n in ("1", "2"):
        api.created(patient(identifier=[{"system": "urn:x", "value": "both"}, {"system": "urn:x", "value": n}]))
    broken = patient(contact=[{"gender": "male"}])
    answers = [
        api.post("Patient", b"{", **FRENCH),
        api.post("Patient", {"resourceType": "Slot"}, **FRENCH),
        api.put("Patient?identifier=urn:x|both", patient(), **FRENCH),
        api.put("Patient/new", patient(id="new"), If_Match='W/"3"', **FRENCH),
        api.post("Patient", UNKNOWN, **FRENCH),
        api.post("Patient", broken, **FRENCH),
    ]
    assert [a.status_code for a in answers] == [400, 400, 412, 412, 422, 422]
    texts = [issue(a)["diagnostics"] for a in answers]
    assert texts[0].startswith("Ce n'est pas du JSON, ligne 1, colonne 2")
    assert texts[1] == "resourceType vaut 'Slot' ; l'URL exige Patient."
    assert texts[2] == "Les critères Patient?identifier=urn:x|both correspondent à 2 ressources ; une seule est admise."
    assert texts[3] == "If-Match désigne la version 3 de Patient/new, mais elle n'existe pas. La relire."
    assert "'nme' n'est pas une propriété de Patient ; vouliez-vous dire 'name' ?" in texts[4]
    assert "pat-1" in texts[5]
    assert issue(answers[5])["details"]["coding"][0]["code"] == "pat-1"


def test_validate_answers_in_french(api: Api) -> None:
    answer = api.post("Patient/$validate", UNKNOWN, **FRENCH)
    assert answer.status_code == 200
    assert "n'est pas une propriété" in issue(answer)["diagnostics"]
    assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("fr", "Accept-Language")
    assert issue(api.get("/health/live", **FRENCH))["diagnostics"] == "Tout est correct"


def test_prefer_operation_outcome_answers_in_french(api: Api) -> None:
    profile = {"profile": ["http://example.org/unheard-of"]}
    answer = api.post("Patient", patient(meta=profile), Prefer="return=OperationOutcome", **FRENCH)
    assert answer.status_code == 201
    assert "est inconnu" in issue(answer)["diagnostics"]
    done = api.put("Patient/a", patient(id="a"), Prefer="return=OperationOutcome", **FRENCH)
    assert issue(done)["diagnostics"] == "Patient/a créé, version 1."


def test_entries_of_batches_and_what_searches_leave_out_are_in_french(api: Api) -> None:
    entries = [{"request": {"method": "GET", "url": "Patient/none"}}]
    bundle = api.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}, **FRENCH)
    told = bundle.get_json()["entry"][0]["response"]["outcome"]["issue"][0]["diagnostics"]
    assert told == "Patient/none n'existe pas."
    search = api.get("Patient?colour=green", **FRENCH)
    (outcome,) = (e["resource"] for e in search.get_json()["entry"] if e["search"]["mode"] == "outcome")
    assert outcome["issue"][0]["diagnostics"].endswith("; il a été ignoré.")
    for answer in (bundle, search):
        assert (answer.headers["Content-Language"], answer.headers["Vary"]) == ("fr", "Accept-Language")


def test_answers_without_an_outcome_say_nothing_of_languages(api: Api) -> None:
    created = api.post("Patient", patient(), **FRENCH)
    for answer in (created, api.get("Patient", **FRENCH), api.get("metadata", **FRENCH), api.get("Patient")):
        assert answer.status_code < 300
        assert "Content-Language" not in answer.headers
        assert "Vary" not in answer.headers


def test_what_else_an_answer_varies_with_is_kept(make_api: Any) -> None:
    api = make_api(cors_origins=("*",))
    answer = api.get("Patient/none", Origin="https://example.org", **FRENCH)
    assert sorted(answer.headers["Vary"].split(", ")) == ["Accept-Language", "Origin"]
    assert len(answer.headers.getlist("Vary")) == 1


# --- Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("fr", "fr"),
        ("FR-ca", "fr"),
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en-US,en;q=0.9,fr;q=0.8", "en"),
        ("en;q=0.5, fr;q=0.9", "fr"),
        ("en;q=0.5,fr;q=0.5", "en"),
        ("fr;q=0.5,en;q=0.5", "fr"),
        ("de,fr;q=0.1", "fr"),
        ("de", "en"),
        ("fr;q=0", "en"),
        ("*", "en"),
        ("en;q=0,*", "fr"),
        ("fr;q=0.2,*;q=0.8", "en"),
        ("*;q=0.3,fr;q=0.4", "fr"),
        ("de,*;q=0.5", "en"),
        ("fr ; q=0.7 , en", "en"),
        ("fr;q=0.001", "fr"),
        ("en-GB;q=0.2,fr;q=0.3,en;q=0.4", "en"),
        ("", "en"),
        (",,;q=1,fr;q=2,äöü", "en"),
        ("fr;level=1,en;q=0.1", "en"),
        ("," * 10_000 + "fr", "en"),
    ],
)
def test_the_preferred_language_is_chosen(header: str, expected: str) -> None:
    assert preferred(header, ("en", "fr")) == expected


# --- plugins


HATS = """
msgid "A patient needs {needed}."
msgstr "Il manque {needed} au patient."

msgid "a hat"
msgstr "un chapeau"
"""


class French:
    """A plugin that has something to say, and its French."""

    def __init__(self, catalogue: Path):
        self.catalogue = catalogue

    @hookimpl
    def translations(self) -> dict[str, str]:
        return {"fr": str(self.catalogue)}

    @hookimpl
    def validate(self) -> list[Issue]:
        text = Message("A patient needs {needed}.", needed=Message("a hat"))
        return [Issue("error", "business-rule", text, ("Patient.extension",), "hats")]


def with_plugin(api: Api, catalogue: Path) -> Api:
    plugins = Plugins([LoadedPlugin("test", "test", French(catalogue))])
    ctx = replace(api.ctx, plugins=plugins)
    return Api(make_app(ctx), ctx)


def test_a_plugin_brings_the_french_of_its_own_messages(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "hats.po"
    file.write_text(HATS, "utf-8")
    hatted = with_plugin(api, file)
    answer = hatted.post("Patient", patient(), **FRENCH)
    assert answer.status_code == 422
    assert issue(answer)["diagnostics"] == "Il manque un chapeau au patient."
    assert issue(answer)["details"]["coding"][0]["code"] == "hats"
    assert issue(hatted.post("Patient", patient()))["diagnostics"] == "A patient needs a hat."


def test_a_broken_catalogue_of_a_plugin_stops_the_start(api: Api, tmp_path: Path) -> None:
    file = tmp_path / "broken.po"
    file.write_text("nonsense\n", "utf-8")
    with pytest.raises(StartupError, match=r"broken\.po, line 1"):
        with_plugin(api, file)


# --- nothing is forgotten

_ENGLISH = re.compile(r"\b(is|are|the|not|of|wanted|must|this|that|and|with|has|there)\b")
_GIVEN = re.compile(r"'[^']*'|\"[^\"]*\"|\(.*\)|http\S+")
"""What clients or definitions have written, and expressions."""


def test_no_english_is_left_in_what_damaged_requests_are_answered(api: Api) -> None:
    for resource in (patient(id="f1", identifier=[{"system": "urn:f", "value": "1"}]), patient(id="f2")):
        api.put(f"Patient/{resource['id']}", resource)
    told = set()
    for seed in range(3):
        generator = Generator(seed)
        for _ in range(100):
            case = generator.case()
            answer = api.call(case.method, case.path, case.body, **case.headers | FRENCH)
            told |= set(texts(answer.get_json(silent=True)))
    assert len(told) > 100
    # the human words of an invariant are those of its author
    own = [t for t in told if "[constraint" not in t and len(t) < 1000]
    assert [t for t in own if _ENGLISH.search(_GIVEN.sub("", t))] == []


def texts(found: Any) -> Iterator[str]:
    """The diagnostics of all OperationOutcomes in an answer."""
    if isinstance(found, dict):
        if found.get("resourceType") == "OperationOutcome":
            yield from (i["diagnostics"] for i in found["issue"])
        for inner in found.values():
            yield from texts(inner)
    elif isinstance(found, list):
        for inner in found:
            yield from texts(inner)


def test_the_context_of_a_request_has_its_language(api: Api) -> None:
    seen: list[str] = []

    class Listening:
        @hookimpl
        def authorize(self, request: RequestContext) -> None:
            seen.append(request.language)

    server = replace(api.ctx, plugins=Plugins([LoadedPlugin("listening", "test", Listening())]))
    listening = Api(make_app(server), server)
    for accepted in ("fr", "en", "xx", None):
        listening.get("Patient", **({"Accept-Language": accepted} if accepted else {}))
    assert seen == ["fr", "en", "en", "en"]
