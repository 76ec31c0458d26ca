"""How many identifiers a SAS search may name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError

IDNPS, IDNST = "urn:oid:1.2.250.1.71.4.2.1", "urn:oid:1.2.250.1.71.4.2.2"


def ps(count: int) -> str:
    return "Slot?schedule.actor:Practitioner.identifier=" + ",".join(f"{IDNPS}%7C8{n:011d}" for n in range(count))


def sos(count: int) -> str:
    places = ",".join(f"{IDNST}%7C3{n:014d}" for n in range(count))
    return f"Schedule?_has:Slot:schedule:status=free&actor:Location.organization.identifier={places}"


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Api]:
    api = Template.make(plugins=("sas",), plugin_options=("sas.identifiers=25",)).fresh(tmp_path / "limits.db")
    yield api
    api.ctx.store.close()


def test_hundreds_are_searched_unless_a_limit_is_set(api: Api) -> None:
    assert (api.get(ps(900)).status_code, api.get(sos(900)).status_code) == (200, 200)


def test_more_than_the_limit_are_refused_with_the_rule(limited: Api) -> None:
    for search in (ps, sos):
        assert limited.get(search(25)).status_code == 200
        refused = limited.get(search(26))
        assert refused.status_code == 422
        (issue,) = refused.get_json()["issue"]
        assert issue["details"]["coding"][0]["code"] == "search-identifiers"
        assert "26 identifiers" in issue["diagnostics"]


def test_an_answer_on_one_page_has_an_end(tmp_path: Path) -> None:
    api = Template.make(plugins=("sas",), max_matches=1).fresh(tmp_path / "end.db")
    number = f"8{0:011d}"
    api.put(
        "Practitioner/p",
        {"resourceType": "Practitioner", "id": "p", "identifier": [{"system": IDNPS, "value": number}]},
    )
    actor = {"actor": [{"reference": "Practitioner/p"}]}
    api.put("Schedule/s", {"resourceType": "Schedule", "id": "s"} | actor)
    when = {"start": "2026-12-07T09:00:00.000+01:00", "end": "2026-12-07T09:20:00.000+01:00"}
    for id, status in (("a", 200), ("b", 422)):
        slot = {"resourceType": "Slot", "id": id, "status": "free", "schedule": {"reference": "Schedule/s"}} | when
        assert api.put(f"Slot/{id}", slot).status_code == 201
        answer = api.get(ps(1))
        assert answer.status_code == status
    (issue,) = answer.get_json()["issue"]
    assert (issue["code"], issue["expression"]) == ("too-costly", ["http.schedule.actor:Practitioner.identifier"])
    assert "max_matches" in issue["diagnostics"]
    api.ctx.store.close()


def test_other_searches_have_no_such_limit(limited: Api) -> None:
    many = ",".join(f"{IDNPS}%7C8{n:011d}" for n in range(40))
    assert limited.get(f"Practitioner?identifier={many}").status_code == 200


@pytest.mark.parametrize("text", ["0", "-1", "many", "1.5"])
def test_a_limit_is_a_number_above_zero(text: str) -> None:
    with pytest.raises(StartupError, match="a whole number of at least 1"):
        Template.make(plugins=("sas",), plugin_options=(f"sas.identifiers={text}",))
