"""What operators do with jobs, and how results expire."""

from __future__ import annotations

import msgspec

from fhirstore.jobs import records
from fhirstore.jobs.queue import (
    JobQueue,
    effective_state,
    entry_record,
    entry_removed,
    item_entries_removed,
    new_owner,
)
from fhirstore.jobs.records import DONE, HEAD, ITEM, Item, Work
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.errors import GuardChanged

_DISCARD_S = 30.0


def replay(queue: JobQueue, id: str) -> bool:
    """Makes a job due now, as if it were new: a parked, waiting or finished one. False if it is running or unknown."""
    now = queue.clock()
    value, work = queue.work(id)
    if effective_state(work, work.seq, now) == "running":
        return False
    items = records.items_of(queue.store, queue.name, id)
    if not items:
        return _replay_finished(queue, id, value, work)
    target = records.next_item(items)
    again = msgspec.structs.replace(
        work, state="queued", attempts=0, next=0.0, since=now, owner="", until=0.0,
        at=target.at, latest=target.latest, entry=records.due_key(queue.name, now, id),
    )  # fmt: skip
    return queue.write(id, value, again, *entry_removed(work), entry_record(again))


def _replay_finished(queue: JobQueue, id: str, value: bytes | None, work: Work) -> bool:
    now, done = queue.clock(), records.job_key(queue.name, id)
    old = records.get(queue.store, DONE, done)
    if old is None:
        return False
    known = records.decode_finished(old)
    again = Work(since=now, at=now, attempted=True, entry=records.due_key(queue.name, now, id))
    item = Item(known.key, known.payload, now)
    stored = Record(ITEM, records.item_key(queue.name, id, known.seq), records.encode(item))
    # An item that another worker has finished since is newer, and must remain the last.
    changed = (*entry_removed(work), entry_record(again), stored, Record(DONE, done, old))
    return queue.write(id, value, again, *changed, guard=RecordGuard(DONE, done, old))


def discard(queue: JobQueue, id: str) -> bool:
    """Removes the next item of a job undelivered; of a queue that delivers the latest, all items. False if the job is
    running or unknown."""
    now = queue.clock()
    value, work = queue.work(id)
    items = records.items_of(queue.store, queue.name, id)
    if not items or effective_state(work, work.seq, now) == "running":
        return False
    target = records.next_item(items)
    # Claimed first, as if to run it: two processes that only delete records would not conflict.
    until = now + _DISCARD_S
    held = msgspec.structs.replace(
        work, state="running", owner=new_owner(), until=until, at=target.at, latest=target.latest,
        entry=records.due_key(queue.name, until, id),
    )  # fmt: skip
    if not queue.write(id, value, held, *entry_removed(work), entry_record(held)):
        return False
    gone = [one for one in items if one.seq <= target.seq]
    keys = [one.key for one in gone]
    removed = (Record(ITEM, key, None) for key in keys)
    more = () if target.latest else queue.next_items(id, keys)
    changed = (*removed, *item_entries_removed(gone), *entry_removed(held), *more)
    return queue.write(id, records.encode(held), None, *changed)


def forget(queue: JobQueue, before: float) -> int:
    """Deletes results that are older than that time (seconds since 1970); returns how many."""
    store = queue.store
    found = records.scan(store, DONE, queue.name)
    old = [one.key for one in found if records.decode_time(one.value or b"").at < before]
    for n in range(0, len(old), records.PAGE):
        store.commit([], records=[Record(DONE, key, None) for key in old[n : n + records.PAGE]])
    if queue.options.forget_keys:
        for key in old:
            _forget_key(queue, key)
    return len(old)


def _forget_key(queue: JobQueue, key: str) -> None:
    head = records.get(queue.store, HEAD, key)
    if head is None or records.items_of(queue.store, queue.name, key.partition(" ")[2]):
        return
    try:
        queue.store.commit([], [RecordGuard(HEAD, key, head)], [Record(HEAD, key, None)])
    except GuardChanged:
        return  # an item of this key has just been enqueued
