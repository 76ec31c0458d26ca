"""The sweep: what is wrong with the slots of the next days, in numbers, without troubling searches."""

from __future__ import annotations

import itertools
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError
from fhirstore.plugins import Store
from fhirstore_sas import sweep

NOW = datetime(2026, 12, 7, 0, tzinfo=UTC)


def put(api: Api, type: str, id: str, **body: Any) -> None:
    answer = api.put(f"{type}/{id}", {"resourceType": type, "id": id, **body})
    assert answer.status_code in (200, 201), answer.text


@pytest.fixture
def store(api: Api) -> Store:
    """Three free slots of a schedule without role, one that starts later, one that is busy."""
    put(api, "Practitioner", "p", identifier=[{"system": "urn:oid:1.2.250.1.71.4.2.1", "value": "810002673899"}])
    put(api, "Schedule", "s", actor=[{"reference": "Practitioner/p"}])
    for n, (day, status) in enumerate(((7, "free"), (8, "free"), (9, "free"), (20, "free"), (7, "busy"))):
        times = {
            "start": f"2026-12-{day:02d}T09:00:00.000+01:00",
            "end": f"2026-12-{day:02d}T09:20:00.000+01:00",
        }
        put(api, "Slot", f"s{n}", schedule={"reference": "Schedule/s"}, status=status, comment="no page", **times)
    return api.ctx.store


def go_on(seconds: float) -> bool:
    return False


def test_it_counts_slots_by_rule_and_what_is_not_shown(store: Store) -> None:
    seen = sweep.sweep(store, NOW, go_on)
    assert seen is not None
    assert (seen.examined, seen.left_out, seen.whole) == (3, 3, True)
    assert (seen.faults["chain-role"], seen.faults["slot-comment"]) == (3, 3)


def test_it_goes_in_pages_and_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_PAGE", 2)
    monkeypatch.setattr(sweep, "_STEP", 1)
    pauses: list[float] = []
    seen = sweep.sweep(store, NOW, lambda seconds: bool(pauses.append(seconds)))
    assert seen is not None
    assert (seen.examined, len(pauses)) == (3, 3)


def test_a_step_that_takes_long_is_followed_by_a_longer_pause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a sweep has the same small part of a slow or busy machine."""
    monkeypatch.setattr(sweep, "_STEP", 1)
    clock = itertools.count()  # each look at it is a second later
    pauses: list[float] = []
    sweep.sweep(store, NOW, lambda seconds: bool(pauses.append(seconds)), lambda: float(next(clock)))
    assert pauses == [12.0, 12.0, 12.0]


def test_it_stops_when_it_is_told_to(store: Store) -> None:
    assert sweep.sweep(store, NOW, lambda seconds: True) is None


def test_it_says_when_there_was_more_than_it_looks_at(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_PAGE", 1)
    monkeypatch.setattr(sweep, "MOST", 2)
    seen = sweep.sweep(store, NOW, go_on)
    assert seen is not None
    assert (seen.examined, seen.whole) == (2, False)


def test_what_it_saw_is_kept_and_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert sweep.last(store) is None
    seen = sweep.sweep(store, NOW, go_on)
    assert seen is not None
    with caplog.at_level(logging.INFO, "fhirstore_sas.sweep"):
        sweep.keep(store, seen)
    assert sweep.last(store) == seen
    (line,) = caplog.records
    assert (line.levelname, line.__dict__["left_out"]) == ("WARNING", 3)
    assert line.__dict__["faults"]["chain-role"] == 3


def test_it_runs_again_and_again_until_it_is_stopped(store: Store) -> None:
    stop = threading.Event()
    worker = threading.Thread(target=sweep.run, args=(store, 0.01, stop))
    worker.start()
    try:
        first = _wait_for(store, None)
        assert _wait_for(store, first) is not None
    finally:
        stop.set()
        worker.join(20)
    assert not worker.is_alive()


def test_it_runs_beside_other_work_and_ends_with_it(store: Store) -> None:
    with sweep.beside(store, 0.01):
        first = _wait_for(store, None)
        assert _wait_for(store, first) is not None
    assert [t.name for t in threading.enumerate() if t.name == "sas-sweep"] == []


def test_nothing_is_done_where_it_is_switched_off_or_slots_are_not_served(store: Store, tmp_path: Path) -> None:
    """Both return at once."""
    sweep.run(store, 0.0, threading.Event())
    assert sweep.last(store) is None
    platform = Template.make(plugins=("sas",), capability="sas-platform").fresh(tmp_path / "platform.db")
    sweep.run(platform.ctx.store, 0.001, threading.Event())
    assert sweep.last(platform.ctx.store) is None
    platform.ctx.store.close()


def test_metrics_tell_what_it_saw(store: Store) -> None:
    assert list(sweep.metrics(store)) == []
    seen = sweep.sweep(store, datetime.now(UTC), go_on)
    assert seen is not None
    sweep.keep(store, sweep.Seen(seen.at, 3, 1, {"chain-role": 1, "slot-comment": 2}))
    found = {m.name: {tuple(s.labels.values()): s.value for s in m.samples} for m in sweep.metrics(store)}
    assert found["fhirstore_sas_slots"] == {("yes",): 2, ("no",): 1}
    assert found["fhirstore_sas_slot_faults"] == {("chain-role",): 1, ("slot-comment",): 2}
    assert 0 <= found["fhirstore_sas_sweep_age_seconds"][()] < 3600


@pytest.mark.parametrize("text", ["-1", "often", "1.5"])
def test_the_time_between_two_is_a_number(text: str) -> None:
    with pytest.raises(StartupError, match=r"sas\.sweep: .* Use a whole number of at least 0 \(default: 900\)"):
        Template.make(plugins=("sas",), plugin_options=(f"sas.sweep={text}",))


def _wait_for(store: Store, before: sweep.Seen | None) -> sweep.Seen:
    waiting = threading.Event()
    for _ in range(1000):
        seen = sweep.last(store)
        if seen is not None and (before is None or seen.at > before.at):
            return seen
        waiting.wait(0.02)
    raise AssertionError("no sweep was made")


def test_a_sweep_of_another_server_counts_and_the_first_waits(store: Store) -> None:
    now = datetime.now(UTC).timestamp()
    assert sweep.until_next(store, now, 3600) > 3000
    assert sweep.until_next(store, now - 3601, 3600) <= 0
    sweep.keep(store, sweep.Seen(now))
    assert sweep.until_next(store, now - 3601, 3600) > 3000
    sweep.keep(store, sweep.Seen(now - 3601))
    assert sweep.until_next(store, now, 3600) <= 0
