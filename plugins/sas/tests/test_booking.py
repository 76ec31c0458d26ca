"""An Appointment takes its Slot in the commit that stores it, and gives it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, issue
from support.bookings import appointment, slot
from support.mongo import Mongo
from support.stores import open_empty, schema_of

from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore.plugins import resource_of
from fhirstore_sas import booking
from fhirstore_sas.booking import taken_slots

BASE = "https://agenda.example/fhir"
MakeApi = Callable[..., Api]
OFF = ("sas.booking=off",)


ON_BOTH = (
    "version_of_its_own", "second_is_refused", "free_in_the_store", "deleting", "changes_nothing", "from_one_to",
    "written_as_free", "cancelled_meanwhile", "booked_meanwhile",
)  # fmt: skip


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """On both engines where the store is in question."""
    if "make" in metafunc.fixturenames:
        both = any(name in metafunc.function.__name__ for name in ON_BOTH)
        metafunc.parametrize("make", ["sqlite", "replica"] if both else ["sqlite"], indirect=True)


@pytest.fixture
def make(request: pytest.FixtureRequest, editor: Server, tmp_path: Path) -> Iterator[MakeApi]:
    """make(options, **settings): the plugin on the store of this test."""
    mongo: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue("replica")
    url = f"sqlite:///{tmp_path / 'booking.db'}" if mongo is None else mongo.url(tmp_path)
    stores = []

    def made(options: tuple[str, ...] = (), **settings: Any) -> Api:
        changed = replace(editor.settings, store=url, plugin_options=options, **settings)
        store = open_empty(changed, schema_of(editor))
        stores.append(store)
        ctx = replace(editor, settings=changed, store=store, secret=store.secret())
        return Api(make_app(ctx), ctx)

    yield made
    for store in stores:
        store.close()
    if mongo is not None:
        mongo.drop(tmp_path)


@pytest.fixture
def api(make: MakeApi) -> Api:
    return make()


def held(api: Api, *ids: str, status: str = "free") -> None:
    for id in ids:
        assert api.put(f"Slot/{id}", slot(id, status)).status_code == 201


def status_of(api: Api, id: str) -> str:
    found: str = api.get(f"Slot/{id}").get_json()["status"]
    return found


def count(api: Api) -> int:
    found: int = api.get("Appointment?_summary=count").get_json()["total"]
    return found


def bundle(*entries: tuple[str, str, dict[str, Any] | None], kind: str = "transaction") -> dict[str, Any]:
    made = [{"request": {"method": m, "url": u}, **({"resource": r} if r else {})} for m, u, r in entries]
    return {"resourceType": "Bundle", "type": kind, "entry": made}


@pytest.mark.parametrize("status", ["pending", "booked", "arrived", "checked-in", "fulfilled", "noshow"])
def test_an_appointment_that_takes_time_makes_its_slot_busy(api: Api, status: str) -> None:
    held(api, "a")
    assert api.post("Appointment", appointment("a", status=status)).status_code == 201
    assert status_of(api, "a") == "busy"


@pytest.mark.parametrize("status", ["proposed", "waitlist", "cancelled", "entered-in-error"])
def test_an_appointment_that_takes_no_time_leaves_its_slot(api: Api, status: str) -> None:
    held(api, "a")
    assert api.post("Appointment", appointment("a", status=status)).status_code == 201
    assert status_of(api, "a") == "free"


def test_the_slot_has_a_version_of_its_own_and_is_found_as_busy(api: Api) -> None:
    held(api, "a")
    assert api.post("Appointment", appointment("a")).headers["ETag"] == 'W/"1"'
    answer = api.get("Slot/a")
    assert (answer.headers["ETag"], answer.get_json()["meta"]["versionId"]) == ('W/"2"', "2")
    versions = api.ctx.store.history("Slot", "a").entries
    assert [(v.version, resource_of(v)["status"]) for v in versions] == [(2, "busy"), (1, "free")]
    assert (api.ids("Slot?status=busy"), api.ids("Slot?status=free")) == (["a"], [])


@pytest.mark.parametrize("status", ["busy", "busy-unavailable", "busy-tentative", "entered-in-error"])
def test_a_slot_that_is_not_free_is_refused(api: Api, status: str) -> None:
    held(api, "a", status=status)
    answer = api.post("Appointment", appointment("a"))
    assert (answer.status_code, issue(answer)["code"]) == (409, "conflict")
    assert f"Slot/a is {status}" in issue(answer)["diagnostics"]
    assert issue(answer)["expression"] == ["Appointment.slot[0]"]
    assert (count(api), status_of(api, "a")) == (0, status)


def test_of_two_bookings_of_one_slot_the_second_is_refused(api: Api) -> None:
    held(api, "a")
    assert [api.post("Appointment", appointment("a")).status_code for _ in range(2)] == [201, 409]
    assert (count(api), status_of(api, "a")) == (1, "busy")


def test_the_refusal_is_told_in_french_with_the_name_of_its_rule(make: MakeApi) -> None:
    api = make()
    held(api, "a")
    api.post("Appointment", appointment("a"))
    first = issue(api.post("Appointment", appointment("a"), **{"Accept-Language": "fr"}))
    assert first["diagnostics"].startswith("Slot/a a le statut busy. Seul un créneau libre (free) peut être réservé.")
    assert first["details"]["coding"][0]["code"] == "appointment-slot"
    make(OFF).put("Slot/a", slot("a"))
    taken = issue(api.post("Appointment", appointment("a"), **{"Accept-Language": "fr"}))
    assert taken["diagnostics"].startswith("Le créneau Slot/a est déjà utilisé par Appointment/")


def test_a_slot_that_is_free_in_the_store_still_belongs_to_its_appointment(make: MakeApi) -> None:
    """As it can be where booking was switched off for a while."""
    api = make()
    held(api, "a")
    first = api.post("Appointment", appointment("a")).get_json()
    assert make(OFF).put("Slot/a", slot("a")).status_code == 200
    assert status_of(api, "a") == "free"
    answer = api.post("Appointment", appointment("a"))
    assert (answer.status_code, issue(answer)["code"]) == (409, "duplicate")
    assert f"Appointment/{first['id']}" in issue(answer)["diagnostics"]


def test_an_unknown_slot_is_refused(api: Api) -> None:
    answer = api.post("Appointment", appointment("nowhere"))
    assert (answer.status_code, issue(answer)["code"]) == (422, "not-found")
    assert count(api) == 0


@pytest.mark.parametrize("reference", ["https://elsewhere.example/fhir/Slot/a", "#a"])
def test_a_slot_of_somebody_else_is_left_alone(api: Api, reference: str) -> None:
    held(api, "a")
    more = {"contained": [slot("a")]} if reference == "#a" else {}
    body = appointment(slot=[{"reference": reference}], **more)
    assert api.post("Appointment", body).status_code == 201
    assert status_of(api, "a") == "free"


def test_a_whole_url_is_told_not_to_be_booked_where_the_server_has_no_base_of_its_own(make: MakeApi) -> None:
    api = make()
    held(api, "a")
    for url, number in ((f"{BASE}/Slot/a", 1), (f"{BASE}/Slot/elsewhere", 0)):
        answer = api.post("Appointment", appointment(slot=[{"reference": url}]), Prefer="return=OperationOutcome")
        told = [i["diagnostics"] for i in answer.get_json()["issue"] if "another server" in i["diagnostics"]]
        assert (answer.status_code, len(told), status_of(api, "a")) == (201, number, "free")
    french = {"Prefer": "return=OperationOutcome", "Accept-Language": "fr"}
    assert (
        "y faire référence par Slot/a"
        in api.post("Appointment", appointment(slot=[{"reference": f"{BASE}/Slot/a"}]), **french).text
    )
    based = make(base_url="https://other.example/fhir")
    answer = based.post(
        "Appointment", appointment(slot=[{"reference": f"{BASE}/Slot/a"}]), Prefer="return=OperationOutcome"
    )
    assert "another server" not in answer.text


@pytest.mark.parametrize("reference", [f"{BASE}/Slot/a", "Slot/a/_history/1"])
def test_a_slot_is_known_by_its_address_and_by_a_version(make: MakeApi, reference: str) -> None:
    api = make(base_url=BASE)
    held(api, "a")
    assert api.post("Appointment", appointment(reference)).status_code == 201
    assert status_of(api, "a") == "busy"
    assert api.put("Slot/a", slot("a")).get_json()["status"] == "busy"
    make(OFF, base_url=BASE).put("Slot/a", slot("a"))
    assert issue(api.post("Appointment", appointment("a")))["code"] == "duplicate"


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error", "proposed"])
def test_cancelling_frees_the_slot(api: Api, status: str) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    assert api.put(f"Appointment/{one['id']}", appointment("a", status=status, id=one["id"])).status_code == 200
    assert status_of(api, "a") == "free"
    assert api.post("Appointment", appointment("a")).status_code == 201


@pytest.mark.parametrize("status", ["fulfilled", "noshow", "arrived"])
def test_what_took_place_or_not_keeps_the_slot(api: Api, status: str) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    assert api.put(f"Appointment/{one['id']}", appointment("a", status=status, id=one["id"])).status_code == 200
    assert (status_of(api, "a"), api.get("Slot/a").headers["ETag"]) == ("busy", 'W/"2"')


def test_deleting_frees_the_slot(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    assert api.delete(f"Appointment/{one['id']}").status_code == 204
    assert status_of(api, "a") == "free"
    assert api.put(f"Appointment/{one['id']}", appointment("a", id=one["id"])).status_code == 201
    assert status_of(api, "a") == "busy"


def test_conditional_deletion_frees_the_slot(api: Api) -> None:
    held(api, "a")
    api.created(appointment("a", identifier=[{"system": "urn:x", "value": "1"}]))
    assert api.delete("Appointment?identifier=urn:x|1").status_code == 204
    assert status_of(api, "a") == "free"


def test_what_somebody_made_of_the_slot_meanwhile_stays(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    api.put("Slot/a", slot("a", "busy-unavailable"))
    api.delete(f"Appointment/{one['id']}")
    assert status_of(api, "a") == "busy-unavailable"


def test_another_slot_moves_the_booking(api: Api) -> None:
    held(api, "a", "b", "c")
    one = api.created(appointment("a", "b"))
    assert api.put(f"Appointment/{one['id']}", appointment("b", "c", id=one["id"])).status_code == 200
    assert [status_of(api, s) for s in "abc"] == ["free", "busy", "busy"]


def test_a_move_to_a_slot_that_is_taken_changes_nothing(api: Api) -> None:
    held(api, "a", "b")
    one = api.created(appointment("a"))
    api.created(appointment("b"))
    assert api.put(f"Appointment/{one['id']}", appointment("b", id=one["id"])).status_code == 409
    assert api.get(f"Appointment/{one['id']}").get_json()["slot"] == [{"reference": "Slot/a"}]
    assert [status_of(api, s) for s in "ab"] == ["busy", "busy"]


def test_conditional_updates_book_move_and_cancel(api: Api) -> None:
    held(api, "a", "b")
    known = {"identifier": [{"system": "urn:x", "value": "1"}]}
    where = "Appointment?identifier=urn:x|1"
    assert api.put(where, appointment("a", **known)).status_code == 201
    assert [status_of(api, s) for s in "ab"] == ["busy", "free"]
    assert api.put(where, appointment("b", **known)).status_code == 200
    assert [status_of(api, s) for s in "ab"] == ["free", "busy"]
    assert api.put(where, appointment("b", status="cancelled", **known)).status_code == 200
    assert [status_of(api, s) for s in "ab"] == ["free", "free"]


def test_the_same_appointment_once_more_is_no_new_version_of_the_slot(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    assert api.put(f"Appointment/{one['id']}", appointment("a", id=one["id"])).headers["ETag"] == 'W/"1"'
    assert api.get("Slot/a").headers["ETag"] == 'W/"2"'


def test_in_a_batch_the_second_booking_alone_is_refused(api: Api) -> None:
    held(api, "a")
    entry = ("POST", "Appointment", appointment("a"))
    answer = api.post("", bundle(entry, entry, kind="batch")).get_json()
    assert [e["response"]["status"][:3] for e in answer["entry"]] == ["201", "409"]
    assert (count(api), status_of(api, "a")) == (1, "busy")


def test_two_bookings_of_one_slot_refuse_the_transaction(api: Api) -> None:
    held(api, "a")
    entry = ("POST", "Appointment", appointment("a"))
    answer = api.post("", bundle(entry, entry))
    assert (answer.status_code, issue(answer)["code"]) == (409, "duplicate")
    assert (count(api), status_of(api, "a")) == (0, "free")


def test_a_transaction_hands_the_slot_from_one_to_the_other(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    answer = api.post(
        "", bundle(("DELETE", f"Appointment/{one['id']}", None), ("POST", "Appointment", appointment("a")))
    )
    assert answer.status_code == 200, answer.text
    assert (status_of(api, "a"), api.get("Slot/a").headers["ETag"]) == ("busy", 'W/"2"')


@pytest.mark.parametrize("status", ["free", "busy"])
def test_a_transaction_may_write_the_slot_beside_the_appointment(api: Api, status: str) -> None:
    held(api, "a")
    answer = api.post(
        "", bundle(("PUT", "Slot/a", slot("a", status) | {"comment": "x"}), ("POST", "Appointment", appointment("a")))
    )
    assert answer.status_code == 200, answer.text
    found = api.get("Slot/a").get_json()
    assert (found["status"], found["comment"], found["meta"]["versionId"]) == ("busy", "x", "2")
    assert [e["response"]["etag"] for e in answer.get_json()["entry"]] == ['W/"2"', 'W/"1"']


def test_a_transaction_may_make_the_slot_that_it_books(api: Api) -> None:
    new = {k: v for k, v in slot("a").items() if k != "id"}
    made = bundle(("POST", "Slot", new), ("POST", "Appointment", appointment("urn:uuid:/")))
    link = "urn:uuid:6e0e5b0a-55b5-4a8b-9a2f-1d0a6a4c2f10"
    made["entry"][0]["fullUrl"] = link
    made["entry"][1]["resource"]["slot"] = [{"reference": link}]
    assert api.post("", made).status_code == 200
    [id] = api.ids("Slot?status=busy")
    assert api.ids("Appointment?slot=Slot/" + id)


def test_a_transaction_that_deletes_the_slot_it_books_is_refused(api: Api) -> None:
    held(api, "a")
    answer = api.post("", bundle(("DELETE", "Slot/a", None), ("POST", "Appointment", appointment("a"))))
    assert (answer.status_code, issue(answer)["code"]) == (409, "conflict")
    assert status_of(api, "a") == "free"


def test_what_an_appointment_has_is_busy_when_it_is_written_as_free(api: Api) -> None:
    """As an editor does who imports the agenda once more."""
    held(api, "a", "b")
    one = api.created(appointment("a"))
    answer = api.put("Slot/a", slot("a") | {"comment": "x"}, Prefer="return=OperationOutcome")
    assert answer.status_code == 200
    assert (issue(answer)["severity"], issue(answer)["expression"]) == ("information", ["Slot.status"])
    assert f"because Appointment/{one['id']} takes the slot" in issue(answer)["diagnostics"]
    found = api.get("Slot/a").get_json()
    assert (found["status"], found["comment"], found["meta"]["versionId"]) == ("busy", "x", "3")
    assert (api.ids("Slot?status=busy"), api.ids("Slot?status=free")) == (["a"], ["b"])
    api.put(f"Appointment/{one['id']}", appointment("a", status="cancelled", id=one["id"]))
    assert status_of(api, "a") == "free"


def test_the_note_is_told_in_french(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    answer = api.put("Slot/a", slot("a"), Prefer="return=OperationOutcome", **{"Accept-Language": "fr"})
    assert issue(answer)["diagnostics"].startswith(
        f"Slot.status : free a été remplacé par busy, car Appointment/{one['id']} occupe le créneau"
    )


def test_a_busy_slot_that_is_written_as_free_only_is_no_new_version(api: Api) -> None:
    held(api, "a")
    api.created(appointment("a"))
    answer = api.put("Slot/a", slot("a"))
    assert (answer.status_code, answer.headers["ETag"], answer.get_json()["status"]) == (200, 'W/"2"', "busy")


@pytest.mark.parametrize("status", ["proposed", "waitlist", "cancelled", "entered-in-error"])
def test_a_slot_that_nobody_has_is_free_when_it_is_written_so(api: Api, status: str) -> None:
    held(api, "a", status="busy")
    api.created(appointment("a", status=status))
    assert api.put("Slot/a", slot("a")).get_json()["status"] == "free"


def test_the_slots_of_many_writes_are_each_looked_at(api: Api) -> None:
    held(api, "a", "b", "c")
    api.created(appointment("a", "c"))
    for kind in ("batch", "transaction"):
        entries = [("PUT", f"Slot/{id}", slot(id) | {"comment": kind}) for id in "abc"]
        assert api.post("", bundle(*entries, kind=kind)).status_code == 200
        found = [api.get(f"Slot/{id}").get_json() for id in "abc"]
        assert [(s["status"], s["comment"]) for s in found] == [("busy", kind), ("free", kind), ("busy", kind)]


def test_a_transaction_that_writes_both_keeps_the_slot_of_its_appointment_busy(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    again = appointment("a", id=one["id"], comment="later")
    made = bundle(("PUT", "Slot/a", slot("a")), ("PUT", f"Appointment/{one['id']}", again))
    answer = api.post("", made, Prefer="return=OperationOutcome").get_json()
    assert status_of(api, "a") == "busy"
    assert answer["entry"][0]["response"]["outcome"]["issue"][0]["expression"] == ["Slot.status"]


def test_a_transaction_may_cancel_and_free_the_slot_itself(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    made = bundle(("PUT", "Slot/a", slot("a")), ("DELETE", f"Appointment/{one['id']}", None))
    assert api.post("", made).status_code == 200
    assert status_of(api, "a") == "free"


def test_a_booked_slot_may_be_deleted_and_is_busy_when_it_is_there_again(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))
    assert api.delete("Slot/a").status_code == 204
    assert api.get(f"Appointment/{one['id']}").status_code == 200
    assert api.put(f"Appointment/{one['id']}", appointment("a", id=one["id"], status="arrived")).status_code == 200
    assert api.put("Slot/a", slot("a")).status_code == 201
    assert status_of(api, "a") == "busy"
    assert api.delete("Slot/a").status_code == 204
    assert api.delete(f"Appointment/{one['id']}").status_code == 204
    assert api.put("Slot/a", slot("a")).get_json()["status"] == "free"


@pytest.mark.parametrize("before", ["busy", "busy-unavailable"])
def test_a_slot_is_free_whose_appointment_is_cancelled_meanwhile(
    api: Api, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """Between our look at the appointments and our commit."""
    held(api, "a")
    one = api.created(appointment("a"))
    if before != "busy":
        api.put("Slot/a", slot("a", before))
    after_look(api, monkeypatch, lambda: api.delete(f"Appointment/{one['id']}"))
    assert api.put("Slot/a", slot("a") | {"comment": "x"}).status_code == 200
    assert status_of(api, "a") == "free"


def test_a_slot_is_busy_that_is_booked_meanwhile(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    held(api, "a")
    after_look(api, monkeypatch, lambda: api.created(appointment("a")))
    assert api.put("Slot/a", slot("a") | {"comment": "x"}).status_code == 200
    assert (status_of(api, "a"), count(api)) == ("busy", 1)


def test_two_appointments_swap_their_slots_in_a_transaction(api: Api) -> None:
    held(api, "a", "b")
    one, two = api.created(appointment("a"))["id"], api.created(appointment("b"))["id"]
    swap = bundle(
        ("PUT", f"Appointment/{one}", appointment("b", id=one)), ("PUT", f"Appointment/{two}", appointment("a", id=two))
    )
    assert api.post("", swap).status_code == 200
    assert [status_of(api, s) for s in "ab"] == ["busy", "busy"]
    api.delete(f"Appointment/{one}")
    assert [status_of(api, s) for s in "ab"] == ["busy", "free"]


def test_a_deleted_appointment_comes_not_back_to_a_slot_that_another_has(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a"))["id"]
    api.delete(f"Appointment/{one}")
    api.created(appointment("a"))
    assert api.put(f"Appointment/{one}", appointment("a", id=one)).status_code == 409
    assert api.get(f"Appointment/{one}").status_code == 410


def test_a_conditional_creation_that_finds_its_appointment_books_nothing(api: Api) -> None:
    held(api, "a", "b")
    known = {"identifier": [{"system": "urn:x", "value": "1"}]}
    api.created(appointment("a", **known))
    answer = api.post("Appointment", appointment("b", **known), **{"If-None-Exist": "identifier=urn:x|1"})
    assert answer.status_code == 200
    assert [status_of(api, s) for s in "ab"] == ["busy", "free"]


def test_one_slot_named_twice_is_one_slot(api: Api) -> None:
    held(api, "a")
    one = api.created(appointment("a", "Slot/a/_history/1"))["id"]
    assert (status_of(api, "a"), api.get("Slot/a").headers["ETag"]) == ("busy", 'W/"2"')
    api.delete(f"Appointment/{one}")
    assert status_of(api, "a") == "free"


def test_of_two_slots_of_which_one_is_taken_neither_is_booked(api: Api) -> None:
    held(api, "a", "b")
    api.created(appointment("b"))
    answer = api.post("Appointment", appointment("a", "b"))
    assert (answer.status_code, issue(answer)["expression"]) == (409, ["Appointment.slot[1]"])
    assert (status_of(api, "a"), count(api)) == ("free", 1)


def after_look(api: Api, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Has `act` done once, behind the next look at who has a slot."""
    look = booking._find_holders

    def overtaken(*given: Any) -> dict[str, str]:
        found = look(*given)
        monkeypatch.setattr(booking, "_find_holders", look)
        act()
        return found

    monkeypatch.setattr(booking, "_find_holders", overtaken)


def test_a_slot_that_breaks_a_rule_cannot_be_booked(make: MakeApi) -> None:
    lenient = make(validation="off")
    bad = {k: v for k, v in slot("a").items() if k != "schedule"}
    assert lenient.put("Slot/a", bad).status_code == 201
    answer = make().post("Appointment", appointment("a"))
    assert answer.status_code == 422
    assert issue(answer)["diagnostics"].startswith("Slot/a, which changes with this resource, is refused: ")
    assert count(lenient) == 0


def test_switched_off_slots_are_the_softwares_own_matter(make: MakeApi) -> None:
    api = make(OFF)
    held(api, "a")
    assert [api.post("Appointment", appointment("a")).status_code for _ in range(2)] == [201, 201]
    assert status_of(api, "a") == "free"


def test_a_status_that_is_no_text_takes_nothing() -> None:
    """With validation off it may be anything."""
    assert taken_slots({"status": {"x": 1}, "slot": [{"reference": "Slot/s"}]}, None) == {}
