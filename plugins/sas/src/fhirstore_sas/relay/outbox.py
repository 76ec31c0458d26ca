"""The outbox: records of the store that say what the platform is still to be told, and what became of it.

`<id>` is that of the Appointment.

| Kind | Key | Written by |
|---|---|---|
| `sas-outbox` | `<id> <version>` | the commit of this version; goes when this or a later one is sent |
| `sas-relay` | `<id>` | workers: attempts, the lease, parking; deleted when all is sent |
| `sas-sent` | `<id>` | workers: what was sent last; kept for a month |

Rows are only added and deleted, so a client's write meets no worker. A worker changes `sas-relay` only from the value
that it has read (`RecordGuard`): of two that want one appointment, one gets the lease. Only the latest version is sent:
it is the whole state, and the versions before it are history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from fhirstore.plugins import GuardChanged, Record, RecordGuard, Store

ROWS, WORK, SENT = "sas-outbox", "sas-relay", "sas-sent"
KEEP_SENT_S = 30 * 86400.0
UNFINISHED = ("waiting", "sending", "parked")
STATES = (*UNFINISHED, "sent")
_PAGE = 1000


class Row(msgspec.Struct, frozen=True):
    """A version that the platform is to be told. first: the Appointment was created with it. at: seconds since 1970."""

    message: dict[str, Any]
    first: bool
    at: float


class _Head(msgspec.Struct, frozen=True):
    """What is looked at of a row when many are."""

    at: float


class Work(msgspec.Struct, frozen=True):
    """How far the sending of an appointment has come.

    state: waiting | sending | parked. version: that of the last attempt. attempts: of this version. tried: something
    may have reached the platform. next, since, until: seconds since 1970; when it is tried again, since when it is
    tried, when the lease of `owner` ends. status, error: of the last answer."""

    state: str = "waiting"
    version: int = 0
    attempts: int = 0
    tried: bool = False
    next: float = 0.0
    since: float = 0.0
    owner: str = ""
    until: float = 0.0
    status: int | None = None
    error: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What the platform has confirmed last. location: where it keeps the appointment."""

    version: int
    message: dict[str, Any]
    at: float
    attempts: int
    status: int
    location: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One appointment of the outbox. version, message: the latest that is to be sent, or was sent."""

    id: str
    version: int
    message: dict[str, Any]
    state: str
    at: float
    attempts: int = 0
    next: float | None = None
    status: int | None = None
    error: str = ""
    location: str = ""

    @property
    def identifier(self) -> str:
        one = self.message["identifier"][0]
        return f"{one['system']}|{one['value']}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send this version now. work: the raw value of the record that says so."""

    id: str
    version: int
    row: Row
    work: Work
    value: bytes
    keys: tuple[str, ...]
    is_first: bool


_encode = msgspec.json.Encoder(decimal_format="number").encode
_row = msgspec.json.Decoder(Row)
_head = msgspec.json.Decoder(_Head)
_work = msgspec.json.Decoder(Work)
_sent = msgspec.json.Decoder(Sent)


def row(id: str, version: int, message: dict[str, Any], first: bool, at: float | None = None) -> Record:
    """The record that goes with the commit of this version."""
    made = Row(message, first, time.time() if at is None else at)
    return Record(ROWS, _key(id, version), _encode(made))


def _key(id: str, version: int) -> str:
    return f"{id} {version:010d}"


def _records(store: Store, kind: str, after: str = "") -> Iterator[Record]:
    while page := store.records(kind, after, _PAGE):
        yield from page
        if len(page) < _PAGE:
            return
        after = page[-1].key


class _Found(NamedTuple):
    version: int
    key: str
    value: bytes
    row: Row


def _rows_of(store: Store, id: str) -> list[_Found]:
    """The rows of one appointment, the latest last."""
    found = []
    for record in _records(store, ROWS, _key(id, 0)):
        if not record.key.startswith(f"{id} "):
            break
        value = record.value or b""
        found.append(_Found(int(record.key.rpartition(" ")[2]), record.key, value, _row.decode(value)))
    return found


def _work_of(store: Store, id: str) -> bytes | None:
    """The raw record of an appointment; None = there is none."""
    # records() has no equality: the greatest text before id is its front with the last character one less.
    before = id[:-1] + chr(ord(id[-1]) - 1) + "\uffff"
    return next((r.value for r in store.records(WORK, before, 1) if r.key == id), None)


def is_empty(store: Store) -> bool:
    return not store.records(ROWS, limit=1)


def items(store: Store, with_sent: bool = True) -> list[Item]:
    """All there is, the unfinished first, by id."""
    with store.reading():
        works = {r.key: _work.decode(r.value or b"") for r in _records(store, WORK)}
        latest: dict[str, tuple[int, Row]] = {}
        for record in _records(store, ROWS):
            id, _, version = record.key.rpartition(" ")
            latest[id] = (int(version), _row.decode(record.value or b""))
        sent = list(_records(store, SENT)) if with_sent else []
    now = time.time()
    found = [_item(id, version, row, works.get(id) or Work(), now) for id, (version, row) in latest.items()]
    for record in sent:
        if record.key not in latest:
            one = _sent.decode(record.value or b"")
            found.append(
                Item(
                    record.key,
                    one.version,
                    one.message,
                    "sent",
                    one.at,
                    one.attempts,
                    None,
                    one.status,
                    "",
                    one.location,
                )
            )
    return found


def _item(id: str, version: int, row: Row, work: Work, now: float) -> Item:
    state = _state(work, version, now)
    return Item(id, version, row.message, state, row.at, work.attempts, work.next, work.status, work.error)


def due(store: Store, now: float) -> list[str]:
    """The ids of the appointments that are to be tried now, in the order in which they came. Messages are not kept in
    memory: while the platform is away there may be many."""
    works = {r.key: _work.decode(r.value or b"") for r in _records(store, WORK)}
    latest: dict[str, tuple[int, float]] = {}
    for record in _records(store, ROWS):
        id, _, version = record.key.rpartition(" ")
        latest[id] = (int(version), _head.decode(record.value or b"").at)
    found = [(at, id) for id, (version, at) in latest.items() if id not in works or _is_due(works[id], version, now)]
    return [id for _, id in sorted(found)]


def _is_due(work: Work, version: int, now: float) -> bool:
    return _state(work, version, now) == "waiting" and work.next <= now


def _state(work: Work, version: int, now: float) -> str:
    """The state of an appointment whose latest row has this version: news revives a parked one, and so does the end of
    a lease one that is being sent."""
    is_over = (work.state == "parked" and version > work.version) or (work.state == "sending" and work.until <= now)
    return "waiting" if is_over else work.state


def lease(store: Store, id: str, seconds: float) -> Lease | None:
    """Takes the right to send the latest version of an appointment; None = another has it, or nothing is to be sent.

    The commit demands that the row is still there: what another has sent meanwhile is not sent again, and later."""
    now = time.time()
    value = _work_of(store, id)
    rows = _rows_of(store, id)
    before = Work() if value is None else _work.decode(value)
    if not rows or not _is_due(before, rows[-1].version, now):
        return None
    last = rows[-1]
    is_new = last.version > before.version
    work = Work(
        "sending",
        last.version,
        1 if is_new else before.attempts + 1,
        True,
        0.0,
        now if is_new else before.since,
        uuid.uuid4().hex,
        now + seconds,
        before.status,
        before.error,
    )
    held = Record(ROWS, last.key, last.value)
    if not _write(store, id, value, work, held, guard=RecordGuard(ROWS, last.key, last.value)):
        return None
    is_first = rows[0].row.first and not before.tried
    return Lease(id, last.version, last.row, work, _encode(work), tuple(r.key for r in rows), is_first)


def sent(store: Store, held: Lease, status: int, location: str = "") -> bool:
    """The platform has confirmed this version: it and those before it leave the outbox. False = the lease was lost."""
    done = Sent(held.version, held.row.message, time.time(), held.work.attempts, status, location)
    gone = (Record(ROWS, key, None) for key in held.keys)
    return _write(store, held.id, held.value, None, *gone, Record(SENT, held.id, _encode(done)))


def failed(store: Store, held: Lease, status: int | None, error: str, *, again: float | None) -> bool:
    """This attempt came to nothing. again: seconds since 1970; None = parked. False = the lease was lost."""
    state = "waiting" if again is not None else "parked"
    work = msgspec.structs.replace(
        held.work, state=state, owner="", until=0.0, next=again or 0.0, status=status, error=error[:2000]
    )
    return _write(store, held.id, held.value, work)


def replay(store: Store, id: str) -> bool:
    """Has an appointment tried now, as if it were new: a parked or waiting one, or one that was sent. False = it is
    being sent, or there is no such one."""
    value = _work_of(store, id)
    work = Work() if value is None else _work.decode(value)
    now = time.time()
    if work.state == "sending" and work.until > now:
        return False
    if _rows_of(store, id):
        again = msgspec.structs.replace(work, state="waiting", attempts=0, next=0.0, since=now, owner="", until=0.0)
        return _write(store, id, value, again)
    found = next((r for r in _records(store, SENT) if r.key == id), None)
    if found is None:
        return False
    last = _sent.decode(found.value or b"")
    store.commit([], records=[row(id, last.version, last.message, False, now)])
    return True


def discard(store: Store, id: str) -> bool:
    """Takes an appointment out of the outbox unsent. False = it is being sent, or there is no such one."""
    value = _work_of(store, id)
    work = Work() if value is None else _work.decode(value)
    keys = [found.key for found in _rows_of(store, id)]
    if not keys or (work.state == "sending" and work.until > time.time()):
        return False
    return _write(store, id, value, None, *(Record(ROWS, key, None) for key in keys))


def forget(store: Store, before: float) -> int:
    """Deletes what was sent before that moment (seconds since 1970); the number."""
    old = [r.key for r in _records(store, SENT) if _sent.decode(r.value or b"").at < before]
    for n in range(0, len(old), _PAGE):
        store.commit([], records=[Record(SENT, key, None) for key in old[n : n + _PAGE]])
    return len(old)


def _write(
    store: Store, id: str, seen: bytes | None, work: Work | None, *more: Record, guard: RecordGuard | None = None
) -> bool:
    """Puts `work` in the place of the record that was seen; False = somebody else has changed it."""
    guards = [RecordGuard(WORK, id, seen), *([guard] if guard else [])]
    try:
        store.commit([], guards, [Record(WORK, id, None if work is None else _encode(work)), *more])
    except GuardChanged:
        return False
    return True


def counts(found: Iterable[Item]) -> dict[str, int]:
    """How many are in each state."""
    number = dict.fromkeys(STATES, 0)
    for item in found:
        number[item.state] += 1
    return number
