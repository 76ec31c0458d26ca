"""Steps of clients, workers and operators in random order: no item is forgotten."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from jobs_support import NAMES, claim, is_empty, job
from support.clock import Clock

from fhirstore.jobs import control, records
from fhirstore.jobs.model import Rejected, Retry
from fhirstore.jobs.queue import Claim, JobQueue, job_id
from fhirstore.jobs.summary import summarize

KEYS = ("a", "b", "a-")
STEPS = ("submit", "submit", "claim", "claim", "done", "fail", "park", "release", "replay", "discard")


class Scenario:
    """expected, delivered: payloads by key; each key numbers its payloads."""

    def __init__(self, queue: JobQueue, clock: Clock, dice: random.Random) -> None:
        self._queue, self._clock, self._dice = queue, clock, dice
        self._last = dict.fromkeys(KEYS, 0)
        self._claims: list[Claim] = []
        self.expected: dict[str, list[int]] = {key: [] for key in KEYS}
        self.delivered: dict[str, list[int]] = {key: [] for key in KEYS}

    def step(self) -> None:
        key, step = self._dice.choice(KEYS), self._dice.choice(STEPS)
        self._clock.advance(self._dice.choice((0.0, 0.0, 50.0)))
        if step == "submit":
            self._last[key] += 1
            self.expected[key].append(self._last[key])
            self._queue.submit(key, self._last[key])
        elif step == "claim":
            self._claims += [found] if (found := claim(self._queue, key)) else []
        elif step == "replay":
            control.replay(self._queue, job_id(key))
        elif step == "discard":
            self._discard(key)
        elif self._claims:
            self._end(self._claims.pop(self._dice.randrange(len(self._claims))), step)

    def finish(self) -> None:
        """Delivers all that is left."""
        for key in KEYS:
            self._clock.advance(100)
            control.replay(self._queue, job_id(key))
            while found := claim(self._queue, key):
                self._end(found, "done")

    def _discard(self, key: str) -> None:
        items = records.items_of(self._queue.store, self._queue.name, job_id(key))
        before = [records.decode_item(one.value).payload for one in items]
        if control.discard(self._queue, job_id(key)):
            gone = set(before if self._queue.options.delivery == "latest" else before[:1])
            gone -= set(self.delivered[key])  # a result that was replayed and is discarded has been delivered
            self.expected[key] = [n for n in self.expected[key] if n not in gone]

    def _end(self, held: Claim, step: str) -> None:
        if step == "done":
            if self._queue.complete(held):
                self.delivered[held.item.key].append(held.item.payload)
        elif step == "release":
            self._queue.release(held)
        else:
            self._queue.fail(held, Rejected("no") if step == "park" else Retry("busy"))


@pytest.mark.parametrize("delivery", ["latest", "each"])
def test_whatever_happens_nothing_is_forgotten(make_queue: Any, clock: Clock, delivery: str) -> None:
    """Each key with items has an entry, no entry exists without items, counts agree with lists, and all items can be
    delivered: with "each", all in order."""
    queue: JobQueue = make_queue(delivery=delivery)
    scenario = Scenario(queue, clock, random.Random(20261126))
    for _ in range(250):
        scenario.step()
        _check_entries(queue)
    scenario.finish()
    assert is_empty(queue)
    for key in KEYS:
        if delivery == "each":  # a replayed result is delivered twice
            first_times = list(dict.fromkeys(scenario.delivered[key]))
            assert first_times == sorted(first_times)
            assert set(scenario.expected[key]) <= set(first_times)
        elif scenario.expected[key]:
            assert (job(queue, key).state, job(queue, key).payload) == ("done", scenario.expected[key][-1])


def _check_entries(queue: JobQueue) -> None:
    now = queue.clock()
    with_items = {one.key.split(" ")[1] for one in records.scan(queue.store, records.ITEM, queue.name)}
    kinds = (records.DUE, records.PARKED)
    entries = {records.job_of(one.key) for kind in kinds for one in records.scan(queue.store, kind, queue.name)}
    assert entries == with_items
    summary = summarize(queue.store, queue.name, 1000, now)
    assert sum(summary.counts.values()) == len(with_items)
    states = Counter(job(queue, NAMES[id]).state for id in with_items)
    assert states == Counter({state: n for state, n in summary.counts.items() if n})
