"""The slot audit: the faults of the slots of the next days, in numbers, without slowing down searches."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import StartupError
from fhirstore.jobs.handler import run_job
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.run import JobInterrupted, JobRun
from fhirstore.plugins import PluginJobs, Progress, ResourceReader
from fhirstore.store.protocol import Store
from fhirstore_sas import slot_audit
from fhirstore_sas.slot_audit import SlotAudit, audit

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


@dataclass
class Run:
    """A run without a queue. stops: it is interrupted at this checkpoint."""

    state: Any = None
    pauses: list[float] = field(default_factory=list)
    stops_at: int | None = None
    checkpoints: int = 0

    def checkpoint(self, state: Any, progress: Progress) -> None:
        self.state = state
        self.checkpoints += 1
        if self.checkpoints == self.stops_at:
            raise JobInterrupted

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


def jobs_on(store: Store, every_s: float = 900.0) -> PluginJobs:
    return PluginJobs("sas", store, [slot_audit.slot_audit_handler(lambda: ResourceReader(store), every_s)])


def check(store: Store, now: datetime, run: Run, *clock: Callable[[], float]) -> SlotAudit:
    return audit(ResourceReader(store), now, run, *clock)


@pytest.fixture
def jobs(store: Store) -> PluginJobs:
    return jobs_on(store)


def run_once(store: Store, jobs: PluginJobs) -> str | None:
    """One audit as a job; its state."""
    handler = next(one for one in jobs.handlers if one.queue == slot_audit.QUEUE)
    jobs.submit(slot_audit.QUEUE, slot_audit.QUEUE)
    queue = JobQueue(store, slot_audit.QUEUE, handler.options)
    claim = queue.claim(job_id(slot_audit.QUEUE))
    assert claim is not None
    return run_job(handler, JobRun(queue, claim, threading.Event()))


def test_it_counts_slots_by_rule_and_those_that_are_not_shown(store: Store) -> None:
    found = check(store, NOW, Run())
    assert (found.examined, found.left_out, found.whole) == (3, 3, True)
    assert (found.faults["chain-role"], found.faults["slot-comment"]) == (3, 3)


def test_it_goes_in_pages_and_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_audit, "_PAGE", 2)
    monkeypatch.setattr(slot_audit, "_STEP", 1)
    run = Run()
    assert check(store, NOW, run).examined == 3
    assert (len(run.pauses), run.checkpoints) == (3, 1)


def test_a_step_that_takes_long_is_followed_by_a_longer_pause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that an audit has the same small part of a slow or busy machine."""
    monkeypatch.setattr(slot_audit, "_STEP", 1)
    clock = itertools.count()  # each reading is a second later
    run = Run()
    check(store, NOW, run, lambda: float(next(clock)))
    assert run.pauses == [12.0, 12.0, 12.0]


@pytest.mark.parametrize("size", [1, 2])
def test_an_interrupted_audit_is_continued_where_it_stopped(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(slot_audit, "_PAGE", size)
    stopped = Run(stops_at=1)
    with pytest.raises(JobInterrupted):
        check(store, NOW, stopped)
    again = Run(stopped.state)
    found = check(store, NOW + timedelta(minutes=5), again)
    assert found == check(store, NOW, Run())  # the window stays the same, too
    assert len(again.pauses) < 3


def test_an_audit_that_was_interrupted_long_ago_is_started_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_audit, "_PAGE", 2)
    stopped = Run(stops_at=1)
    with pytest.raises(JobInterrupted):
        check(store, NOW, stopped)
    later = NOW + timedelta(hours=2)
    assert check(store, later, Run(stopped.state)).at == later.timestamp()


def test_it_says_if_there_are_more_slots_than_it_checks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot_audit, "_PAGE", 1)
    monkeypatch.setattr(slot_audit, "MOST", 2)
    found = check(store, NOW, Run())
    assert (found.examined, found.whole) == (2, False)


def test_the_result_is_kept_and_logged(
    store: Store, jobs: PluginJobs, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert slot_audit.last_audit(jobs) is None
    made = check(store, NOW, Run())
    monkeypatch.setattr(slot_audit, "audit", lambda *_: made)
    with caplog.at_level(logging.INFO, "fhirstore_sas.slot_audit"):
        assert run_once(store, jobs) == "done"
    found = slot_audit.last_audit(jobs)
    assert found is not None
    assert found == made
    (line,) = caplog.records
    assert (line.levelname, line.__dict__["left_out"]) == ("WARNING", 3)
    assert line.__dict__["faults"]["chain-role"] == 3


def test_the_last_result_stays_while_the_next_audit_runs(store: Store, jobs: PluginJobs) -> None:
    run_once(store, jobs)
    before = slot_audit.last_audit(jobs)
    jobs.submit(slot_audit.QUEUE, slot_audit.QUEUE)
    assert before is not None
    assert slot_audit.last_audit(jobs) == before


def test_it_runs_again_and_again_until_it_is_stopped(store: Store) -> None:
    stop = threading.Event()
    often = jobs_on(store, 0.01)
    worker = threading.Thread(target=often.run, args=(stop, slot_audit.QUEUE))
    worker.start()
    try:
        first = _wait_for(lambda: slot_audit.last_audit(often))
        assert _wait_for(lambda: (now := slot_audit.last_audit(often)) and now.at > first.at)
    finally:
        stop.set()
        worker.join(20)
    assert not worker.is_alive()


def test_no_audit_is_started_if_it_is_switched_off() -> None:
    made = Template.make(plugins=("sas",), plugin_options=("sas.slot_audit=0",))
    handlers = made.ctx.contexts.of("sas").jobs.handlers
    assert [one.every_s for one in handlers if one.queue == slot_audit.QUEUE] == [0.0]


def test_an_audit_has_no_result_where_slots_are_not_served(tmp_path: Path) -> None:
    platform = Template.make(plugins=("sas",), capability="sas-platform").fresh(tmp_path / "platform.db")
    store = platform.ctx.store
    jobs = jobs_on(store)
    assert run_once(store, jobs) == "done"
    assert slot_audit.last_audit(jobs) is None
    assert list(slot_audit.metrics(jobs)) == []
    store.close()


def test_metrics_report_the_last_audit(store: Store, jobs: PluginJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(slot_audit.metrics(jobs)) == []
    now = datetime.now(UTC).timestamp()
    made = SlotAudit(now, 3, 1, {"chain-role": 1, "slot-comment": 2})
    monkeypatch.setattr(slot_audit, "audit", lambda *_: made)
    assert run_once(store, jobs) == "done"
    assert jobs.get(slot_audit.QUEUE, slot_audit.QUEUE).result == asdict(made)  # type: ignore[union-attr]
    found = {m.name: {tuple(s.labels.values()): s.value for s in m.samples} for m in slot_audit.metrics(jobs)}
    assert found["fhirstore_sas_slots"] == {("yes",): 2, ("no",): 1}
    assert found["fhirstore_sas_slot_faults"] == {("chain-role",): 1, ("slot-comment",): 2}
    assert 0 <= found["fhirstore_sas_slot_audit_age_seconds"][()] < 3600


def _wait_for(read: Callable[[], Any]) -> Any:
    waiting = threading.Event()
    for _ in range(1000):
        if found := read():
            return found
        waiting.wait(0.02)
    raise AssertionError("no audit was made")


@pytest.mark.parametrize("text", ["-1", "often", "1.5"])
def test_the_time_between_two_is_a_number(text: str) -> None:
    with pytest.raises(StartupError, match=r"sas\.slot_audit: .* Use a whole number of at least 0 \(default: 900\)"):
        Template.make(plugins=("sas",), plugin_options=(f"sas.slot_audit={text}",))
