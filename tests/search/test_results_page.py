from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from fhirstore.errors import FhirError
from fhirstore.search.results import run
from fhirstore.search.schema import make_schema
from fhirstore.store.errors import SnapshotLost


def patient(id: str, **members: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, **members}


def slot(id: str, schedule: str, start: str, status: str = "free") -> dict[str, Any]:
    reference = {"reference": f"Schedule/{schedule}"}
    return {"resourceType": "Slot", "id": id, "schedule": reference, "start": start, "status": status}


def schedule(id: str, *actors: str) -> dict[str, Any]:
    return {"resourceType": "Schedule", "id": id, "actor": [{"reference": actor} for actor in actors]}


def practitioner(id: str, rpps: str) -> dict[str, Any]:
    return {"resourceType": "Practitioner", "id": id, "identifier": [{"system": "urn:rpps", "value": rpps}]}


@pytest.fixture
def agenda(server: Any) -> Any:
    server.put(
        practitioner("p1", "81"),
        practitioner("p2", "82"),
        schedule("s1", "Practitioner/p1", "Location/l1"),
        schedule("s2", "Practitioner/p2"),
        slot("a", "s1", "2024-06-12T08:00:00+02:00"),
        slot("b", "s1", "2024-06-12T09:00:00+02:00", "busy"),
        slot("c", "s2", "2024-06-12T10:00:00+02:00"),
        slot("d", "s2", "2024-06-13T08:00:00+02:00"),
    )
    return server


# --- one state


def test_a_search_starts_again_if_the_store_has_lost_its_snapshot(agenda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is injected: the store lost the state behind the matches, as an election would make it."""
    find, read_many = agenda.store.find, agenda.store.read_many
    finds: list[str] = []

    def finding(type: str, *rest: Any) -> Any:
        finds.append(type)
        return find(type, *rest)

    def losing(refs: Any) -> Any:
        if len(finds) < 3:
            raise SnapshotLost("gone")
        return read_many(refs)

    monkeypatch.setattr(agenda.store, "find", finding)
    monkeypatch.setattr(agenda.store, "read_many", losing)
    found = agenda.search("Slot", "schedule=s1&_include=Slot:schedule")

    assert finds == ["Slot"] * 3
    assert [one.id for one in found.matches] == ["a", "b"]
    assert [one.id for one in found.includes] == ["s1"]


# --- matches


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("", ["a", "b", "c", "d"]),
        ("status=free", ["a", "c", "d"]),
        ("status:not=free", ["b"]),
        ("schedule=s1,s2&status=free&start=lt2024-06-13", ["a", "c"]),
        ("schedule.actor:Practitioner.identifier=urn:rpps|81", ["a", "b"]),
        ("schedule.actor.identifier=urn:rpps|81, urn:rpps|82, urn:rpps|99", ["a", "b", "c", "d"]),
        ("schedule.actor:Practitioner._id=p2", ["c", "d"]),
        ("start=ge2024-06-12T09:00:00&start=le2024-06-12T10:00:00", ["b", "c"]),
        ("start=2024-06-12T08:00:00.000 02:00", ["a"]),
        ("_sort=-start", ["d", "c", "b", "a"]),
        ("_sort=status,-start", ["b", "d", "c", "a"]),
        ("_id=a,d,x", ["a", "d"]),
        ("identifier:missing=true&_count=2", ["a", "b"]),
    ],
)
def test_slots_are_found(agenda: Any, query: str, ids: list[str]) -> None:
    assert agenda.ids("Slot", query) == ids


@pytest.mark.parametrize(
    ("type", "query", "ids"),
    [
        ("Schedule", "_has:Slot:schedule:status=busy", ["s1"]),
        ("Schedule", "_has:Slot:schedule:start=ge2024-06-13", ["s2"]),
        ("Practitioner", "_has:Schedule:actor:_has:Slot:schedule:status=busy", ["p1"]),
        ("Slot", "schedule._has:Slot:schedule:status=busy", ["a", "b"]),
    ],
)
def test_reverse_chains(agenda: Any, type: str, query: str, ids: list[str]) -> None:
    assert agenda.ids(type, query) == ids


def test_chains_do_not_reach_deleted_resources(agenda: Any) -> None:
    agenda.delete("Practitioner", "p1")
    assert agenda.ids("Slot", "schedule.actor:Practitioner.identifier=81,82") == ["c", "d"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("name=elu", ["1"]),
        ("name:exact=Éluard", ["1"]),
        ("name:exact=eluard", []),
        ("name:contains=RESS", ["2"]),
        ("gender=http://hl7.org/fhir/administrative-gender|male", ["1"]),
        ("gender:missing=true", ["3"]),
        ("gender:not=male", ["2", "3"]),
        ("birthdate=1895", ["1"]),
        ("birthdate=le1895-12-14", ["1"]),
        ("birthdate=gt1895-12-14", ["2"]),
        ("birthdate=ne1895", ["2"]),
        ("general-practitioner:identifier=urn:rpps|81", ["2"]),
        ("general-practitioner:missing=false", ["1", "2"]),
        ("general-practitioner=Practitioner/p", ["1"]),
        ("general-practitioner=http://server.example/fhir/Practitioner/p", ["1"]),
    ],
)
def test_patients_are_found(server: Any, query: str, ids: list[str]) -> None:
    server.put(
        patient(
            "1",
            name=[{"family": "Éluard", "given": ["Paul"]}],
            gender="male",
            birthDate="1895-12-14",
            generalPractitioner=[{"reference": "Practitioner/p/_history/2"}],
        ),
        patient(
            "2",
            name=[{"family": "de la Tressange"}],
            gender="female",
            birthDate="1900",
            generalPractitioner=[{"identifier": {"system": "urn:rpps", "value": "81"}}],
        ),
        patient("3"),
    )
    assert server.ids("Patient", query) == ids


def test_numbers_and_quantities_compare_exactly(server: Any) -> None:
    def observation(id: str, value: Any, **unit: str) -> dict[str, Any]:
        return {"resourceType": "Observation", "id": id, "valueQuantity": {"value": value, **unit}}

    server.put(
        observation("1", 5, unit="mg"),
        observation("2", 10, code="mg", system="urn:u"),
        observation("3", -5),
        observation("4", 10**30, code="g"),
    )
    assert server.ids("Observation", "value-quantity=gt-6") == ["1", "2", "3", "4"]
    assert server.ids("Observation", "value-quantity=ge5.00||mg") == ["1", "2"]
    assert server.ids("Observation", "value-quantity=10|urn:u|mg") == ["2"]
    assert server.ids("Observation", f"value-quantity={10**30 - 1}") == []
    assert server.ids("Observation", f"value-quantity={10**30}") == ["4"]
    assert server.ids("Observation", "_sort=-value-quantity") == ["4", "2", "1", "3"]


def test_a_canonical_without_version_finds_all_its_versions(server: Any) -> None:
    def response(id: str, questionnaire: str) -> dict[str, Any]:
        return {"resourceType": "QuestionnaireResponse", "id": id, "questionnaire": questionnaire}

    server.put(response("1", "http://q.example/a|1"), response("2", "http://q.example/a|2"))
    assert server.ids("QuestionnaireResponse", "questionnaire=http://q.example/a") == ["1", "2"]
    assert server.ids("QuestionnaireResponse", "questionnaire=http://q.example/a|2") == ["2"]


# --- totals (total_limit is 20, the page size 10)


@pytest.mark.parametrize(
    ("stored", "query", "total", "matches"),
    [
        (3, "", 3, 3),
        (15, "", 15, 10),
        (25, "", None, 10),
        (25, "_total=accurate", 25, 10),
        (25, "_total=none", None, 10),
        (3, "_total=none", None, 3),
        (25, "_summary=count", 25, 0),
        (25, "_count=0", 25, 0),
        (25, "_count=40", 25, 25),
        (0, "", 0, 0),
    ],
)
def test_the_total_is_exact_or_absent(server: Any, stored: int, query: str, total: int | None, matches: int) -> None:
    server.put(*(patient(f"{n:02}") for n in range(stored)))
    found = server.search("Patient", query)
    assert (found.total, len(found.matches)) == (total, matches)


def test_later_pages_repeat_the_total_of_the_first(server: Any) -> None:
    server.put(*(patient(f"{n:02}") for n in range(15)))
    first = server.search("Patient", "_count=5")
    server.put(*(patient(f"new{n}") for n in range(3)))
    assert server.search("Patient", f"_count=5&_page={first.next}").total == 15


def test_a_query_without_count_is_one_page_with_everything(server: Any, settings: Any) -> None:
    server.put(*(patient(f"{n:02}") for n in range(25)))
    everything = replace(server.query("Patient", ""), count=None)
    found = run(server.store, server.registry, everything, settings, b"")
    assert (len(found.matches), found.total, found.next) == (25, 25, None)


@pytest.mark.parametrize("query", ["", "gender=male", "family=Martin", "_sort=family"])
@pytest.mark.parametrize("most", [24, 25])
@pytest.mark.parametrize("many", [1, 10000], ids=["as-a-whole", "along-the-order"])
def test_one_page_with_everything_has_an_end(
    server: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, query: str, most: int, many: int
) -> None:
    monkeypatch.setattr("fhirstore.store.sqlite.search.MANY", many)
    server.put(*(patient(f"{n:02}", gender="male", name=[{"family": "Martin"}, {"family": "M"}]) for n in range(25)))
    everything = replace(server.query("Patient", query), count=None)
    limited = replace(settings, max_matches=most)
    if most == 25:
        assert len(run(server.store, server.registry, everything, limited, b"").matches) == 25
        return
    with pytest.raises(FhirError) as refused:
        run(server.store, server.registry, everything, limited, b"")
    assert refused.value.status == 422
    assert refused.value.issues[0].code == "too-costly"
    assert "24" in refused.value.issues[0].diagnostics
    criteria = [one.partition("=")[0] for one in query.split("&") if one and not one.startswith("_")]
    assert refused.value.issues[0].expression == tuple(f"http.{name}" for name in criteria)


# --- paging


@pytest.mark.parametrize("sort", ["", "_sort=name", "_sort=-name", "_sort=-birthdate,name", "_sort=_lastUpdated"])
def test_every_resource_that_stays_is_seen_once_while_others_come_and_go(server: Any, sort: str) -> None:
    rng = random.Random(7)
    names = ["Ada", "Bob", "Cyd", "Ada", "Éva"]
    years = ["1980", "1990-05", None]

    def some(id: str) -> dict[str, Any]:
        year = rng.choice(years)
        return patient(id, name=[{"family": rng.choice(names)}], **({"birthDate": year} if year else {}))

    stay = [f"s{n:02}" for n in range(30)]
    server.put(*(some(id) for id in stay), *(some(f"g{n}") for n in range(10)))
    seen: list[str] = []
    page: str | None = ""
    step = 0
    while page is not None:
        found = server.search("Patient", f"{sort}&_count=7" + (f"&_page={page}" if page else ""))
        seen += [stored.id for stored in found.matches]
        page = found.next
        server.put(some(f"n{step}"))
        if step < 10:
            server.delete("Patient", f"g{step}")
        step += 1
    assert sorted(id for id in seen if id in set(stay)) == stay


def test_a_token_of_another_search_is_refused(server: Any) -> None:
    server.put(*(patient(f"{n:02}") for n in range(25)))
    token = server.search("Patient", "_sort=name").next
    for query in ("", "_sort=-name", "_sort=name&gender=male"):
        with pytest.raises(FhirError, match="does not belong"):
            server.search("Patient", f"{query}&_page={token}")


# --- what is not indexed yet


@pytest.mark.parametrize(
    ("type", "query", "named"),
    [
        ("Slot", "status=free", "Slot.status"),
        ("Slot", "_sort=status", "Slot.status"),
        ("Slot", "status:not=free", "Slot.status"),
        ("Slot", "schedule.identifier=1", "Schedule.identifier"),
        ("Schedule", "_has:Slot:schedule:status=free", "Slot.status"),
        ("Schedule", "_has:Slot:schedule:status:missing=true", "Slot.status"),
        ("Observation", "_include=Observation:performer", "Observation.performer"),
        ("Patient", "_revinclude=Observation:*", "Observation.performer"),
    ],
)
def test_a_search_on_a_parameter_not_indexed_yet_says_so(agenda: Any, type: str, query: str, named: str) -> None:
    agenda.put({"resourceType": "Observation", "id": "o"})
    changing = {("Slot", "status"), ("Schedule", "identifier"), ("Observation", "performer")}
    changed = {
        name: {
            code: replace(param, digest="new") if (name, code) in changing else param for code, param in params.items()
        }
        for name, params in agenda.registry.indexed_types.items()
    }
    agenda.store.open(make_schema(replace(agenda.registry, indexed_types=changed), ()))
    with pytest.raises(FhirError, match=f"{named}.*reindex") as refused:
        agenda.search(type, query)
    assert refused.value.status == 422
    assert refused.value.issues[0].code == "incomplete"
    assert agenda.ids("Slot", "start=ge2024-06-13") == ["d"]
