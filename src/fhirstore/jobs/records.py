"""The records of queues: their contents, their keys, and those that enqueue an item.

Every key starts with the name of the queue and a space. `<job>` identifies a key of the queue (`job_id`), `<seq>`
numbers the items of a key.

| Kind | Rest of the key | Written by |
|---|---|---|
| `job-item` | `<job> <seq>` | the commit that enqueues the item; deleted when the item is delivered |
| `job-head` | `<job>` | the same commit: the last `<seq>` of the key |
| `job-due` | `<time> <job> <seq>` | the same commit: the item is due at once |
| `job-due` | `<time> <job>` | workers: time of the next attempt, or end of the lease |
| `job-parked` | `<time> <job>` | workers: time at which the job was parked |
| `job-work` | `<job>` | workers: attempts, lease, progress; deleted when the item is delivered |
| `job-done` | `<job>` | workers: the last result of the key |

`job-due` and `job-parked` are small and ordered by time, so that workers and counts read no payloads. Every undelivered
job has an entry in one of the two.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from fhirstore.jobs.model import JobState, Progress, QueueOptions
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import RecordStore, ResourceStore, with_snapshot

ITEM, HEAD, DUE, PARKED, WORK, DONE = "job-item", "job-head", "job-due", "job-parked", "job-work", "job-done"
KINDS = (ITEM, HEAD, DUE, PARKED, WORK, DONE)
PAGE = 1000
"""Records that are read at a time."""
_FEW_ITEMS = 3
_NAME_END = "!"  # the character after the space: a key that sorts after all keys of a queue


class JobStore(ResourceStore, RecordStore, Protocol):
    """The parts of a store that jobs use: commits of records, and reads of them."""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """key, payload: as enqueued. at: when, in seconds since 1970. latest: replaces earlier items of the key
    (`QueueOptions.delivery`)."""

    key: str
    payload: Any
    at: float
    latest: bool = False


class ItemHead(msgspec.Struct, frozen=True):
    """The part of an item that is decoded if there are many."""

    at: float
    latest: bool = False


class Time(msgspec.Struct, frozen=True):
    """The part of a result that is decoded if there are many."""

    at: float


class Name(msgspec.Struct, frozen=True):
    """The part of an item or a result that names it."""

    key: str
    payload: Any


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """The value of an entry in `job-due` or `job-parked`. at: when the item was enqueued. attempts: so far. blocks: the
    parked item must be delivered before later items of its key."""

    at: float
    attempts: int
    state: JobState
    blocks: bool = False


class Work(msgspec.Struct, frozen=True):
    """The state of a job that a worker has tried.

    seq: of the item of the last attempt. attempts: of this item. attempted: an earlier attempt, of this or a replaced
    item, may have had an effect. next, since, until: seconds since 1970: the next attempt, the first attempt, the end
    of the lease of `owner`. at, latest: of the item. entry: key of the job's entry in `job-due` or `job-parked`.
    outcome, error: of the last failure. progress, checkpoint: of an unfinished run. crashes: runs in a row that left
    neither an outcome nor a new checkpoint, because their process ended."""

    state: JobState = "queued"
    seq: int = 0
    attempts: int = 0
    attempted: bool = False
    next: float = 0.0
    since: float = 0.0
    owner: str = ""
    until: float = 0.0
    at: float = 0.0
    latest: bool = False
    entry: str = ""
    outcome: Any = None
    error: str = ""
    progress: Progress | None = None
    checkpoint: Any = None
    crashes: int = 0


class Finished(msgspec.Struct, frozen=True):
    """The last delivered item of a key. at: when it was finished. created: when it was enqueued."""

    key: str
    payload: Any
    seq: int
    at: float
    created: float
    attempts: int
    state: Literal["done", "failed"] = "done"
    result: Any = None
    error: str = ""
    outcome: Any = None
    progress: Progress | None = None


class StoredItem(NamedTuple):
    """An item with its record."""

    queue: str
    seq: int
    key: str
    value: bytes
    at: float
    latest: bool

    @property
    def entry(self) -> str:
        """The key of the entry that was stored with the item."""
        return due_key(self.queue, self.at, self.key.partition(" ")[2])


encode = msgspec.json.Encoder(decimal_format="number").encode
decode_item = msgspec.json.Decoder(Item).decode
decode_entry = msgspec.json.Decoder(Entry).decode
decode_work = msgspec.json.Decoder(Work).decode
decode_finished = msgspec.json.Decoder(Finished).decode
decode_name = msgspec.json.Decoder(Name).decode
decode_time = msgspec.json.Decoder(Time).decode
_decode_head = msgspec.json.Decoder(ItemHead).decode


def job_id(key: str) -> str:
    """The id of a key: a hash, so that no id is the beginning of another one and its length is fixed."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def job_key(queue: str, job: str) -> str:
    return f"{queue} {job}"


def item_key(queue: str, job: str, seq: int) -> str:
    return f"{queue} {job} {seq:010d}"


def due_key(queue: str, at: float, name: str) -> str:
    """at: seconds since 1970. name: id of the job, or the id and the number of an item."""
    return f"{queue} {max(int(at * 1e6), 0):017d} {name}"


class JobProducer:
    """Enqueues items. Enqueuing only adds records, so the writes of clients do not conflict with workers.

    owner: whose queues these are, for messages. queues: by name. clock: seconds since 1970."""

    def __init__(
        self, owner: str, store: JobStore, queues: Mapping[str, QueueOptions], clock: Callable[[], float] = time.time
    ) -> None:
        self._owner, self._store, self._options, self._clock = owner, store, dict(queues), clock

    def enqueue(self, queue: str, items: Mapping[str, Any]) -> Iterator[Record | RecordGuard]:
        """Records and guards that enqueue items (key -> payload) with a commit. If the commit raises GuardChanged,
        call `enqueue` again; the hooks before a commit are repeated in this case anyway. Raises ValueError for an
        unknown queue."""
        options = self._options.get(queue)
        if options is None:
            raise ValueError(f"The {self._owner} declares no queue {queue!r}.")
        latest, now, store = options.delivery == "latest", self._clock(), self._store
        ids = [job_id(key) for key in items]
        heads = with_snapshot(store, lambda: [store.get_record(HEAD, job_key(queue, id)) for id in ids])
        made: list[Record | RecordGuard] = []
        for id, head, (key, payload) in zip(ids, heads, items.items(), strict=True):
            last = None if head is None else head.value
            seq = 1 + int(last or b"0")
            made += (
                RecordGuard(HEAD, job_key(queue, id), last),
                Record(HEAD, job_key(queue, id), str(seq).encode()),
                Record(ITEM, item_key(queue, id, seq), encode(Item(key, payload, now, latest))),
                Record(DUE, due_key(queue, now, f"{id} {seq:010d}"), encode(Entry(now, 0, "queued"))),
            )
        return iter(made)

    def submit(self, queue: str, key: str, payload: Any = None) -> None:
        """Enqueues one item in a commit of its own."""
        while not commit_records(self._store, self.enqueue(queue, {key: payload})):
            pass  # another process has enqueued an item of the same key


def commit_records(store: JobStore, made: Iterable[Record | RecordGuard]) -> bool:
    """Commits records and guards; False if a guard has changed."""
    entries = list(made)
    guards = [one for one in entries if isinstance(one, RecordGuard)]
    try:
        store.commit([], guards, [one for one in entries if isinstance(one, Record)])
    except GuardChanged:
        return False
    return True


def time_of(key: str) -> float:
    """The time in a key of `job-due` or `job-parked`, in seconds since 1970."""
    return int(key.split(" ", 2)[1]) / 1e6


def job_of(key: str) -> str:
    """The id of the job in a key of `job-due` or `job-parked`."""
    return key.split(" ", 3)[2]


def get(store: JobStore, kind: str, key: str) -> bytes | None:
    """The value of one record; None if it does not exist."""
    found = store.get_record(kind, key)
    return None if found is None else found.value


def scan(store: JobStore, kind: str, queue: str, page: int | None = None) -> Iterator[Record]:
    """The records of a queue, by key, read in pages."""
    after, prefix, page = f"{queue} ", f"{queue} ", page or PAGE
    while found := store.records(kind, after, page):
        for one in found:
            if not one.key.startswith(prefix):
                return
            yield one
        if len(found) < page:
            return
        after = found[-1].key


def items_of(store: JobStore, queue: str, job: str) -> list[StoredItem]:
    """The undelivered items of a job, the oldest first."""
    found: list[StoredItem] = []
    prefix, page = f"{queue} {job} ", _FEW_ITEMS
    after = prefix
    while some := store.records(ITEM, after, page):
        for one in some:
            if not one.key.startswith(prefix):
                return found
            value = one.value or b""
            head = _decode_head(value)
            found.append(StoredItem(queue, int(one.key[len(prefix) :]), one.key, value, head.at, head.latest))
        if len(some) < page:
            return found
        after, page = some[-1].key, PAGE
    return found


def next_item(items: list[StoredItem]) -> StoredItem:
    """The item of a job that is delivered next."""
    return items[-1] if items[-1].latest else items[0]


def queue_names(store: JobStore) -> list[str]:
    """The queues that ever had an item in this store."""
    names: list[str] = []
    after = ""
    while found := store.records(HEAD, after, 1):
        names.append(found[0].key.partition(" ")[0])
        after = names[-1] + _NAME_END
    return names
