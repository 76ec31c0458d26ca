"""Queues: who may run a job now, and the outcome of each attempt.

Every step replaces the `job-work` record that it has read (`RecordGuard`), so that of two workers that claim one job,
one gets it, on every engine. See `records` for the layout, and for enqueuing.
"""

from __future__ import annotations

import logging
import os
import random as random_module
import re
import socket
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from fhirstore.jobs import records
from fhirstore.jobs.model import DEFAULT_OPTIONS, JobState, Progress, QueueOptions, Rejected, Retry
from fhirstore.jobs.records import (
    DONE,
    DUE,
    ITEM,
    PARKED,
    WORK,
    Entry,
    Finished,
    Item,
    JobProducer,
    JobStore,
    StoredItem,
    Work,
    job_id,
)
from fhirstore.jobs.stats import JobCounts, StatsWriter
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import with_snapshot

__all__ = ["Claim", "JobQueue", "job_id"]

log = logging.getLogger(__name__)

_LOOK = 200  # entries that are read at a time
_MOST_ERROR = 2000  # characters
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run a job until the lease ends.

    item: delivered now. oldest: the oldest undelivered item of the key; another one than `item` only if the queue
    delivers the latest. is_first_attempt: no earlier attempt, of this or a replaced item, can have had an effect.
    last: the last finished item of the key. keys: of the items that this run delivers. value: the stored `work`."""

    job: str
    seq: int
    item: Item
    oldest: Item
    oldest_seq: int
    is_first_attempt: bool
    last: Finished | None
    keys: tuple[str, ...]
    work: Work
    value: bytes


class JobQueue:
    """One queue of a store; docs/jobs.md. Raises ValueError for a name that is not lower-case letters, digits and "-".

    clock: seconds since 1970. random: 0 to 1."""

    def __init__(
        self,
        store: JobStore,
        name: str,
        options: QueueOptions = DEFAULT_OPTIONS,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"The name of a queue consists of lower-case letters, digits and hyphens: {name!r}.")
        self.store, self.name, self.options, self.clock = store, name, options, clock
        self._random = random
        self._producer = JobProducer("process", store, {name: options}, clock)

    # --- enqueue ---------------------------------------------------------------------------------

    def enqueue(self, items: Mapping[str, Any]) -> list[Record | RecordGuard]:
        """Records and guards that enqueue items (key -> payload) in a commit; if it raises GuardChanged, call this
        again."""
        return list(self._producer.enqueue(self.name, items))

    def submit(self, key: str, payload: Any = None) -> str:
        """Enqueues one item in a commit of its own; returns the id of the job."""
        self._producer.submit(self.name, key, payload)
        return job_id(key)

    def submit_if_idle(self, key: str, payload: Any = None, *, created_before: float = float("inf")) -> bool:
        """Enqueues one item unless the key has an undelivered item that is not parked, or its last finished item was
        enqueued after that time (seconds since 1970). Of several servers that call this at once, one enqueues."""
        id = job_id(key)
        made = with_snapshot(self.store, lambda: self._if_idle(id, key, payload, created_before))
        return bool(made) and records.commit_records(self.store, made)

    def _if_idle(self, id: str, key: str, payload: Any, created_before: float) -> list[Record | RecordGuard]:
        made = self.enqueue({key: payload})  # reads the head first, so that any later item changes the guard
        work, done = self.work(id)[1], self._get(DONE, id)
        if done is not None and records.decode_finished(done).created > created_before:
            return []
        if records.items_of(self.store, self.name, id) and work.state != "parked":
            return []
        return made

    # --- claim -----------------------------------------------------------------------------------

    def due(self, limit: int, without: Collection[str] = ()) -> list[str]:
        """Ids of jobs to claim now, at most `limit`, about in the order in which they became due."""
        now = self.clock()
        found: dict[str, None] = {}
        for one in records.scan(self.store, DUE, self.name, _LOOK):
            if records.time_of(one.key) > now or len(found) == limit:
                break
            if (id := records.job_of(one.key)) not in without:
                found[id] = None
        return list(found)

    def claim(self, id: str, stats: StatsWriter | None = None) -> Claim | None:
        """Leases a job; None if another worker has the lease, if the job is not due, or if it is given up.

        The commit requires that the item still exists: an item that was delivered meanwhile is not delivered again."""
        now = self.clock()
        value, before = self.work(id)
        items = records.items_of(self.store, self.name, id)
        if not items:
            return None
        target = records.next_item(items)
        state = effective_state(before, target.seq, now)
        if state == "running":
            return None
        if state == "parked" or before.next > now:
            # The entry of the job itself suffices, so those of new items go. The record changes so that this commit
            # conflicts with a worker that claims the job at the same time.
            self.write(id, value, msgspec.structs.replace(before, owner=new_owner()), *item_entries_removed(items))
            return None
        work = self._leased(id, before, target, now)
        guard = RecordGuard(ITEM, target.key, target.value)
        kept = Record(ITEM, target.key, target.value)
        changed = (kept, *item_entries_removed(items), *entry_removed(before), entry_record(work))
        if not self.write(id, value, work, *changed, guard=guard):
            return None
        item, last = records.decode_item(target.value), self._get(DONE, id)
        claim = Claim(
            job=id,
            seq=target.seq,
            item=item,
            oldest=item if items[0] is target else records.decode_item(items[0].value),
            oldest_seq=items[0].seq,
            is_first_attempt=not before.attempted,
            last=None if last is None else records.decode_finished(last),
            keys=tuple(one.key for one in items if one.seq <= target.seq),
            work=work,
            value=records.encode(work),
        )
        if work.crashes < self.options.max_crashes:
            return claim
        self._give_up(claim, stats)
        return None

    def _give_up(self, claim: Claim, stats: StatsWriter | None) -> None:
        """Stores that a job is not tried again, because its runs end their process."""
        work = claim.work
        error = f"The process ended {work.crashes} times during a run of this job."
        log.error("job %s of queue %s is given up: %s", claim.item.key, self.name, error)
        ended = replace(claim, work=msgspec.structs.replace(work, attempts=work.attempts - 1))  # this one did not run
        self.fail(ended, Rejected(error), stats, work.progress, work.checkpoint)

    def _leased(self, id: str, before: Work, target: StoredItem, now: float) -> Work:
        is_new, until = target.seq != before.seq, now + self.options.lease_s
        return Work(
            state="running",
            seq=target.seq,
            attempts=1 if is_new else before.attempts + 1,
            attempted=True,
            since=now if is_new else before.since,
            owner=new_owner(),
            until=until,
            at=target.at,
            latest=target.latest,
            entry=records.due_key(self.name, until, id),
            outcome=before.outcome,
            error=before.error,
            progress=None if is_new else before.progress,
            checkpoint=None if is_new else before.checkpoint,
            crashes=before.crashes + 1 if before.state == "running" and not is_new else 0,
        )

    def renew(self, claim: Claim, progress: Progress | None = None, checkpoint: Any = None) -> Claim | None:
        """Extends the lease and stores how far the run has come; None if the lease was lost."""
        until = self.clock() + self.options.lease_s
        entry = records.due_key(self.name, until, claim.job)
        crashes = claim.work.crashes if checkpoint == claim.work.checkpoint else 0
        work = msgspec.structs.replace(
            claim.work, until=until, entry=entry, progress=progress, checkpoint=checkpoint, crashes=crashes
        )
        if not self.write(claim.job, claim.value, work, *entry_removed(claim.work), entry_record(work)):
            return None
        return replace(claim, work=work, value=records.encode(work))

    def release(self, claim: Claim, progress: Progress | None = None, checkpoint: Any = None) -> bool:
        """Gives an unfinished job back, to be continued at once by any worker. The attempt does not count. False if the
        lease was lost."""
        old = claim.work
        work = msgspec.structs.replace(
            old, state="waiting", attempts=max(old.attempts - 1, 0), owner="", until=0.0, next=0.0,
            entry=records.due_key(self.name, self.clock(), claim.job), progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        return self.write(claim.job, claim.value, work, *entry_removed(old), entry_record(work))

    # --- outcomes --------------------------------------------------------------------------------

    def complete(
        self, claim: Claim, result: Any = None, stats: StatsWriter | None = None, progress: Progress | None = None
    ) -> bool:
        """Stores the result; the delivered items leave the queue. False if the lease was lost."""
        now = self.clock()
        done = self._finished(claim, now, "done", result=result, progress=progress)
        return self._finish(claim, done, stats, JobCounts(done=1, last=now))

    def fail(
        self,
        claim: Claim,
        why: Retry | Rejected,
        stats: StatsWriter | None = None,
        progress: Progress | None = None,
        checkpoint: Any = None,
    ) -> JobState | None:
        """Stores a failed attempt: the job waits for its next attempt, is parked, or has failed. None if the lease was
        lost."""
        now = self.clock()
        again = self._next_attempt(claim, why, now)
        error = why.error[:_MOST_ERROR]
        if again is None and self.options.on_failure == "failed":
            done = self._finished(claim, now, "failed", error=error, outcome=why.outcome, progress=progress)
            return "failed" if self._finish(claim, done, stats, JobCounts(failed=1, parked=1)) else None
        state: JobState = "parked" if again is None else "waiting"
        work = msgspec.structs.replace(
            claim.work, state=state, owner="", until=0.0, next=again or 0.0, outcome=why.outcome, error=error,
            entry=records.due_key(self.name, now if again is None else again, claim.job),
            progress=progress, checkpoint=checkpoint,
        )  # fmt: skip
        counts = JobCounts(failed=1, parked=int(again is None))
        changed = (*entry_removed(claim.work), entry_record(work))
        return state if self.write(claim.job, claim.value, work, *changed, stats=stats, counts=counts) else None

    def _next_attempt(self, claim: Claim, why: Retry | Rejected, now: float) -> float | None:
        """Seconds since 1970; None if the failure is final."""
        retry = self.options.retry
        if isinstance(why, Rejected) or now - claim.work.since >= retry.give_up_after_s:
            return None
        return now + max(retry.pause_s(claim.work.attempts, self._random()), why.wait_s)

    def _finished(self, claim: Claim, now: float, state: Any, **more: Any) -> Finished:
        item = claim.item
        return Finished(item.key, item.payload, claim.seq, now, item.at, claim.work.attempts, state, **more)

    def _finish(self, claim: Claim, done: Finished, stats: StatsWriter | None, counts: JobCounts) -> bool:
        removed = [Record(ITEM, key, None) for key in claim.keys]
        stored = Record(DONE, records.job_key(self.name, claim.job), records.encode(done))
        more = () if claim.work.latest else self.next_items(claim.job, claim.keys)
        changed = (*removed, *entry_removed(claim.work), stored, *more)
        return self.write(claim.job, claim.value, None, *changed, stats=stats, counts=counts)

    def next_items(self, id: str, delivered: Collection[str]) -> Iterator[Record]:
        """Restores the entry of the item behind the delivered ones, which claims have removed."""
        for one in records.items_of(self.store, self.name, id):
            if one.key not in delivered:
                yield Record(DUE, one.entry, records.encode(Entry(one.at, 0, "queued")))
                return

    # --- records ---------------------------------------------------------------------------------

    def work(self, id: str) -> tuple[bytes | None, Work]:
        """The stored state of a job, raw and decoded."""
        value = self._get(WORK, id)
        return value, Work() if value is None else records.decode_work(value)

    def _get(self, kind: str, id: str) -> bytes | None:
        return records.get(self.store, kind, records.job_key(self.name, id))

    def write(
        self,
        id: str,
        seen: bytes | None,
        work: Work | None,
        *more: Record,
        guard: RecordGuard | None = None,
        stats: StatsWriter | None = None,
        counts: JobCounts | None = None,
    ) -> bool:
        """Replaces the `job-work` record that was read, and counts. False if another process has changed it."""
        key = records.job_key(self.name, id)
        guards = [RecordGuard(WORK, key, seen), *([guard] if guard else [])]
        changed = [Record(WORK, key, None if work is None else records.encode(work)), *more]
        while True:
            update = None if stats is None or counts is None else stats.add(counts)
            try:
                if update is None:
                    self.store.commit([], guards, changed)
                else:
                    self.store.commit([], [*guards, update.guard], [*changed, update.record])
            except GuardChanged as problem:
                if update is not None and problem.guard == update.guard:
                    update.merged()
                    continue
                return False
            if update is not None:
                update.stored()
            return True


def effective_state(work: Work, seq: int, now: float) -> JobState:
    """The state of a job whose next item has this number: a new item revives a parked job, the end of its lease a
    running one."""
    if work.state == "parked" and seq > work.seq:
        return "queued"
    if work.state == "running" and work.until <= now:
        return "waiting"
    return work.state


def new_owner() -> str:
    """Identifies an attempt; its beginning tells operators where it runs."""
    return f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex}"


def entry_record(work: Work) -> Record:
    is_parked = work.state == "parked"
    entry = Entry(work.at, work.attempts, work.state, is_parked and not work.latest)
    return Record(PARKED if is_parked else DUE, work.entry, records.encode(entry))


def entry_removed(work: Work) -> list[Record]:
    return [Record(PARKED if work.state == "parked" else DUE, work.entry, None)] if work.entry else []


def item_entries_removed(items: Collection[StoredItem]) -> list[Record]:
    """Removes the entries that were stored with items."""
    return [Record(DUE, one.entry, None) for one in items]
