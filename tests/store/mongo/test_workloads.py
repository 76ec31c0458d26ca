"""The searches that matter, W4 to W10 of the benchmark, from the URL to the commands: how many there are, what each
asks for, and which index each must use. The number does not grow with the store.

That MongoDB takes the index is not seen here; that it can is: the filter bounds the first field of the index, and of a
compound index each one. docs/mongodb.md tells how to look at a real server's plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.api import Api, Template
from support.mongo import Mongo

from fhirstore.store.mongo.indexes import PAST, Fields, declared
from fhirstore.store.mongo.schema import make_layout

Commands = Any  # see conftest.py
SERVICE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Slot.serviceType"
WINDOW = "start=ge2026-01-05T00:00:00Z&start=le2026-01-06T00:00:00Z"
HAS = (
    "_has:Slot:schedule:start=ge2026-01-05T00:00:00Z&_has:Slot:schedule:start=le2026-01-06T00:00:00Z"
    "&_has:Slot:schedule:status=free"
)

# The search, and the collection and index of each find that it needs.
SEARCHES: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "W4": (
        f"Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&{WINDOW}"
        "&schedule.actor:Practitioner.identifier=urn:rpps|0,urn:rpps|1&status=free&_count=1000",
        [
            ("Practitioner", "param_identifier"),
            ("Schedule", "param_actor"),
            ("Slot", "compound_schedule_status_start"),
            ("Slot", "_id_"),  # whose schedules to include
            ("Schedule", "_id_"),
            ("Schedule", "_id_"),  # whose actors
            ("Location", "_id_"),
            ("Practitioner", "_id_"),
            ("PractitionerRole", "_id_"),
        ],
    ),
    "W5": (
        f"Slot?_include=Slot:schedule&_include:iterate=Schedule:actor&_include=Slot:service-type-reference&{WINDOW}"
        "&_include:iterate=HealthcareService:organization&schedule.actor:Practitioner.identifier=urn:rpps|0&status=free&_count=1000",
        [
            ("Practitioner", "param_identifier"),
            ("Schedule", "param_actor"),
            ("Slot", "compound_schedule_status_start"),
            ("Slot", "_id_"),
            ("Slot", "_id_"),  # whose services
            ("HealthcareService", "_id_"),
            ("Schedule", "_id_"),
            ("Schedule", "_id_"),  # whose actors
            ("HealthcareService", "_id_"),  # whose organizations
            ("Location", "_id_"),
            ("Organization", "_id_"),
            ("Practitioner", "_id_"),
            ("PractitionerRole", "_id_"),
        ],
    ),
    "W6": (
        f"Schedule?_revinclude=Slot:schedule&_include=Schedule:actor:Location&_include:iterate=Location:organization&{HAS}"
        "&actor:Location.organization.identifier=urn:finess|0&_count=1000",
        [
            ("Organization", "param_identifier"),
            ("Location", "param_organization"),
            ("Slot", "param_start"),  # those of _has
            ("Slot", "_id_"),  # what they name
            ("Schedule", "_id_"),
            ("Schedule", "_id_"),  # whose locations to include
            ("Location", "_id_"),
            ("Slot", "compound_schedule_status_start"),  # those of these schedules, and what _has asks of them
            ("Location", "_id_"),  # whose organizations
            ("Organization", "_id_"),
        ],
    ),
    "W7": ("Practitioner?identifier=urn:rpps|0", [("Practitioner", "param_identifier")]),
    "W9": (
        "Patient?family=mar&gender=female&birthdate=ge1950-01-01&_sort=-birthdate&_count=5",
        [("Patient", "param_family")],
    ),
    "W10": (
        "Observation?patient=Patient/pa0&code=urn:loinc|c1&date=ge2026-01-01T00:00:00Z&_count=100",
        [("Observation", "param_patient")],
    ),
}


def put(type: str, id: str, **content: Any) -> dict[str, Any]:
    resource = {"resourceType": type, "id": id, **content}
    return {"resource": resource, "request": {"method": "PUT", "url": f"{type}/{id}"}}


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def agenda(n: int) -> Iterator[dict[str, Any]]:
    """A practitioner in a role at a site, a service, his slots of four days, a patient and his observations."""
    yield put("Organization", f"or{n}", identifier=[{"system": "urn:finess", "value": str(n)}])
    yield put("Location", f"lo{n}", managingOrganization={"reference": f"Organization/or{n}"})
    yield put("Practitioner", f"pr{n}", identifier=[{"system": "urn:rpps", "value": str(n)}])
    yield put("PractitionerRole", f"ro{n}", practitioner={"reference": f"Practitioner/pr{n}"})
    actors = [{"reference": actor} for actor in (f"Practitioner/pr{n}", f"PractitionerRole/ro{n}", f"Location/lo{n}")]
    yield put("Schedule", f"sc{n}", actor=actors)
    yield put("HealthcareService", f"hs{n}", providedBy={"reference": f"Organization/or{n}"})
    service = {"url": SERVICE, "valueReference": {"reference": f"HealthcareService/hs{n}"}}
    for slot in range(8):
        day, hour = 5 + slot // 2, 8 + slot % 2
        yield put(
            "Slot", f"sl{n}-{slot}", schedule={"reference": f"Schedule/sc{n}"}, status=("free", "busy")[slot % 3 == 2],
            start=f"2026-01-{day:02}T{hour:02}:00:00Z", end=f"2026-01-{day:02}T{hour:02}:20:00Z",
            serviceType=[{"extension": [service], "text": "shared"}],
        )  # fmt: skip
    yield put("Patient", f"pa{n}", name=[{"family": "Martin"}], gender="female", birthDate=f"19{60 + n % 40}-01-01")
    for code in range(3):
        yield put(
            "Observation", f"ob{n}-{code}", status="final", code=coded("urn:loinc", f"c{code}"),
            subject={"reference": f"Patient/pa{n}"}, effectiveDateTime="2026-01-05T08:00:00Z",
        )  # fmt: skip


def load(api: Api, numbers: range) -> None:
    entries = [entry for n in numbers for entry in agenda(n)]
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert answer.status_code == 200, answer.text


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.make(plugins=("sas",))


@pytest.fixture(scope="module")
def indexes(template: Template) -> dict[str, dict[str, Fields]]:
    layout = make_layout(template.schema)
    found = {}
    for type in layout.params:
        found[type] = {"_id_": (("_id", 1),)} | {index.name: index.fields for index in declared(layout, type)}
        found[f"{type}_history"] = {index.name: index.fields for index in PAST}
    return found


@pytest.fixture(scope="module")
def api(template: Template, replica: Mongo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("workloads")
    api = template.fresh(replica.url(folder))
    yield api
    api.ctx.store.close()
    replica.drop(folder)


def bounded(where: dict[str, Any]) -> set[str]:
    """The fields that every match must pass a test of, in a way that an index can bound."""
    found: set[str] = set()
    for name, test in where.items():
        if name == "$and":
            found |= set().union(*(bounded(one) for one in test))
        elif name == "$or":
            found |= set.intersection(*(bounded(one) for one in test))
        elif isinstance(test, dict) and "$elemMatch" in test:
            inner = test["$elemMatch"]
            found |= {name} if any(key[0] == "$" for key in inner) else {f"{name}.{member}" for member in inner}
        elif name[0] != "$":
            found.add(name)
    return found


def can_use(fields: Fields, where: dict[str, Any], compound: bool) -> bool:
    paths = [path for path, _ in fields if path != "_id"] or ["_id"]
    return bounded(where).issuperset(paths if compound else paths[:1])


def heard_in(api: Api, commands: Commands, query: str) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    with commands.heard() as heard:
        answer = api.get(query)
    assert answer.status_code == 200, answer.text
    bundle = answer.get_json()
    assert bundle["entry"], "a search that finds nothing shows nothing"
    return heard, len(bundle["entry"])


def test_each_search_sends_these_commands_whatever_the_size_of_the_store(
    api: Api, commands: Commands, indexes: dict[str, dict[str, Fields]]
) -> None:
    numbers: dict[str, list[int]] = {}
    for size in (range(8), range(8, 40)):
        load(api, size)
        for name, (query, wanted) in SEARCHES.items():
            heard, _ = heard_in(api, commands, query)
            finds = [command for kind, command in heard if kind == "find" and command["find"] != "meta"]
            assert [command["find"] for command in finds] == [collection for collection, _ in wanted], name
            for command, (collection, index) in zip(finds, wanted, strict=True):
                fields = indexes[collection][index]
                assert can_use(fields, command["filter"], index.startswith("compound")), (name, index, command)
                assert command["maxTimeMS"] > 0
            assert {kind for kind, _ in heard} <= {"find", "aggregate", "abortTransaction"}, name
            assert sum(command.get("find") == "meta" for _, command in heard) == 1  # what is pending
            numbers.setdefault(name, []).append(len(heard))
    assert all(len(set(counts)) == 1 for counts in numbers.values()), numbers


def test_a_page_asks_for_no_more_than_it_shows(api: Api, commands: Commands) -> None:
    """W9, page by page: each page is one find that is bounded by the page and begins where the one before ended."""
    load(api, range(30))
    query, pages = SEARCHES["W9"][0], 0
    while query and pages < 5:
        heard, count = heard_in(api, commands, query)
        [find] = [command for kind, command in heard if kind == "find" and command["find"] == "Patient"]
        assert find["limit"] == 6
        assert list(find["sort"]) == ["hi.birthdate", "_id"]
        assert ("hi.birthdate" in bounded(find["filter"]) or "$or" in str(find["filter"])) or pages == 0
        assert count == 5
        links = api.get(query).get_json()["link"]
        query = next((link["url"].split("/fhir/")[1] for link in links if link["relation"] == "next"), "")
        pages += 1
    assert pages == 5


@pytest.mark.parametrize(
    ("name", "method", "path", "headers", "limit"),
    [
        ("W7", "PUT", "Practitioner?identifier=urn:rpps|0", {}, 13),
        ("W8", "PUT", "Practitioner/pr0", {}, 10),
    ],
)
def test_a_conditional_write_sends_as_many_commands_to_a_large_store_as_to_a_small_one(
    api: Api, commands: Commands, name: str, method: str, path: str, headers: dict[str, str], limit: int
) -> None:
    body = {"resourceType": "Practitioner", "id": "pr0", "identifier": [{"system": "urn:rpps", "value": "0"}]}
    counts = []
    for size in (range(2), range(60)):
        load(api, size)
        with commands.heard() as heard:
            answer = api.call(method, path, {**body, "name": [{"family": str(size)}]}, **headers)
        assert answer.status_code == 200, answer.text
        counts.append([kind for kind, _ in heard])
    assert sorted(counts[0]) == sorted(counts[1])
    assert len(counts[0]) <= limit, counts[0]
