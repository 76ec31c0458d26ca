"""The outbox: what the platform is still to be told, who may send it now, and what became of it (see `rows`).

Rows are only added and deleted, so a client's write meets no worker. All others change `sas-relay` from the value that
they have read (`RecordGuard`), and so meet there, on every engine: of two that want one unit, one gets the lease. Only
the latest version is sent: it is the whole state, and the versions before it are history.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from fhirstore.plugins import (
    GuardChanged,
    Record,
    RecordGuard,
    Store,
    with_snapshot,
)
from fhirstore_sas.relay import rows
from fhirstore_sas.relay.message import identifier_of
from fhirstore_sas.relay.rows import DUE, HEAD, PARKED, ROWS, SENT, WORK, Entry, Found, Row, Sent, State, Work
from fhirstore_sas.relay.tally import Count, Tally

KEEP_SENT_S = 30 * 86400.0
_LOOK = 200  # entries that are read at a time
_DISCARD_S = 30.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a write gives the platform to know. is_new: the platform was not told of this appointment's state before."""

    appointment: str
    version: int
    message: dict[str, Any]
    is_new: bool

    @property
    def unit(self) -> str:
        return rows.unit_of(identifier_of(self.message) or ("", ""))


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to send this version now. value: the raw record of `work`. keys: the rows that are done with it.
    etag: of what the platform has confirmed last, "" = not known."""

    unit: str
    row: Row
    work: Work
    value: bytes
    keys: tuple[str, ...]
    is_first: bool
    etag: str = ""


def news(store: Store, told: Collection[Told]) -> Iterator[Record | RecordGuard]:
    """What goes with the commit that gives rise to these, each of another unit."""
    units = [one.unit for one in told]
    heads = with_snapshot(store, lambda: [rows.record(store, HEAD, unit) for unit in units])
    now = time.time()
    for one, unit, head in zip(told, units, heads, strict=True):
        seq = 1 + int(head or b"0")
        key = rows.row_key(unit, seq)
        yield RecordGuard(HEAD, unit, head)
        yield Record(HEAD, unit, str(seq).encode())
        first = one.is_new and head is None
        yield Record(ROWS, key, rows.encode(Row(one.appointment, one.version, one.message, first, now)))
        yield Record(DUE, rows.due_key(now, key), rows.encode(Entry(now, 0, "waiting")))


def due(store: Store, now: float, most: int, without: Collection[str] = ()) -> list[str]:
    """The units that are to be tried now, `most` at most, about in the order in which they came."""
    found: dict[str, None] = {}
    for one in rows.records(store, DUE, page=_LOOK):
        if rows.moment_of(one.key) > now or len(found) == most:
            break
        if (unit := rows.unit_in(one.key)) not in without:
            found[unit] = None
    return list(found)


def state_of(work: Work, seq: int, now: float) -> State:
    """The state of a unit whose latest row has this number: news revives a parked one, and so does the end of a lease
    one that is being sent."""
    is_over = (work.state == "parked" and seq > work.seq) or (work.state == "sending" and work.until <= now)
    return "waiting" if is_over else work.state


def lease(store: Store, unit: str, seconds: float) -> Lease | None:
    """Takes the right to send the latest version of a unit; None = another has it, or nothing is to be sent now.

    The commit demands that the row is still there: what another has sent meanwhile is not sent again, and later."""
    now = time.time()
    value = rows.record(store, WORK, unit)
    found = rows.rows_of(store, unit)
    before = Work() if value is None else rows.work(value)
    if not found or state_of(before, found[-1].seq, now) != "waiting":
        return None
    if before.next > now:
        # News of what waits for its next attempt: the entry of that is enough. Somebody who takes the lease just now
        # must be met, so the record changes.
        _write(store, unit, value, msgspec.structs.replace(before, owner=uuid.uuid4().hex), *_dropped(found))
        return None
    last = found[-1]
    is_new = last.seq > before.seq
    work = Work(
        state="sending",
        seq=last.seq,
        attempts=1 if is_new else before.attempts + 1,
        tried=True,
        since=now if is_new else before.since,
        owner=uuid.uuid4().hex,
        until=now + seconds,
        at=last.head.at,
        entry=rows.due_key(now + seconds, unit),
        status=before.status,
        error=before.error,
    )
    guard = RecordGuard(ROWS, last.key, last.value)
    changed = (Record(ROWS, last.key, last.value), *_dropped(found), *_left(before), _entry(work))
    if not _write(store, unit, value, work, *changed, guard=guard):
        return None
    is_first = found[0].head.first and not before.tried
    keys = tuple(one.key for one in found)
    done = rows.record(store, SENT, unit)
    etag = "" if done is None else rows.sent(done).etag
    return Lease(unit, rows.row(last.value), work, rows.encode(work), keys, is_first, etag)


def sent(
    store: Store, held: Lease, status: int, location: str = "", tally: Tally | None = None, etag: str = ""
) -> bool:
    """The platform has confirmed this version: it and those before it leave the outbox. False = the lease was lost."""
    now, row, work = time.time(), held.row, held.work
    done = Sent(row.appointment, row.version, work.seq, row.message, now, work.attempts, status, location, etag)
    gone = (Record(ROWS, key, None) for key in held.keys)
    changed = (*gone, *_left(work), Record(SENT, held.unit, rows.encode(done)))
    return _write(store, held.unit, held.value, None, *changed, tally=tally, count=Count(sent=1, last=now))


def failed(
    store: Store, held: Lease, status: int | None, error: str, *, again: float | None, tally: Tally | None = None
) -> bool:
    """This attempt came to nothing. again: seconds since 1970; None = parked. False = the lease was lost."""
    state: State = "parked" if again is None else "waiting"
    key = rows.due_key(time.time() if again is None else again, held.unit)
    work = msgspec.structs.replace(
        held.work, state=state, owner="", until=0.0, next=again or 0.0, entry=key, status=status, error=error[:2000]
    )
    count = Count(parked=1, failed=1) if again is None else Count(failed=1)
    changed = (*_left(held.work), _entry(work))
    return _write(store, held.unit, held.value, work, *changed, tally=tally, count=count)


def replay(store: Store, unit: str) -> bool:
    """Has a unit tried now, as if it were new: a parked or waiting one, or one that was sent. False = it is being sent,
    or there is no such one."""
    now = time.time()
    value = rows.record(store, WORK, unit)
    work = Work() if value is None else rows.work(value)
    if work.state == "sending" and work.until > now:
        return False
    if found := rows.rows_of(store, unit):
        last = found[-1]
        again = msgspec.structs.replace(
            work, state="waiting", attempts=0, next=0.0, since=now, owner="", until=0.0,
            at=last.head.at, entry=rows.due_key(now, unit),
        )  # fmt: skip
        return _write(store, unit, value, again, *_left(work), _entry(again))
    old = rows.record(store, SENT, unit)
    if old is None:
        return False
    known = rows.sent(old)
    again = Work(since=now, at=now, entry=rows.due_key(now, unit))
    made = Row(known.appointment, known.version, known.message, False, now)
    row = Record(ROWS, rows.row_key(unit, known.seq), rows.encode(made))
    # What another has sent since is later than this, and must stay the last.
    guard = RecordGuard(SENT, unit, old)
    return _write(store, unit, value, again, *_left(work), _entry(again), row, Record(SENT, unit, old), guard=guard)


def discard(store: Store, unit: str) -> bool:
    """Takes a unit out of the outbox unsent. False = it is being sent, or there is no such one."""
    now = time.time()
    value = rows.record(store, WORK, unit)
    work = Work() if value is None else rows.work(value)
    found = rows.rows_of(store, unit)
    if not found or (work.state == "sending" and work.until > now):
        return False
    # As if to send it: two that only take away what is not there would not meet.
    until = now + _DISCARD_S
    held = msgspec.structs.replace(
        work, state="sending", owner=uuid.uuid4().hex, until=until, at=found[-1].head.at,
        entry=rows.due_key(until, unit),
    )  # fmt: skip
    if not _write(store, unit, value, held, *_left(work), _entry(held)):
        return False
    gone = (Record(ROWS, one.key, None) for one in found)
    return _write(store, unit, rows.encode(held), None, *gone, *_dropped(found), *_left(held))


def forget(store: Store, before: float) -> int:
    """Deletes what was sent before that moment (seconds since 1970); the number."""
    old = [one.key for one in rows.records(store, SENT) if rows.sent_at(one.value or b"").at < before]
    for n in range(0, len(old), rows.PAGE):
        store.commit([], records=[Record(SENT, key, None) for key in old[n : n + rows.PAGE]])
    return len(old)


def _entry(work: Work) -> Record:
    kind = PARKED if work.state == "parked" else DUE
    return Record(kind, work.entry, rows.encode(Entry(work.at, work.attempts, work.state)))


def _left(work: Work) -> list[Record]:
    """What takes away the entry of a work that is over."""
    return [Record(PARKED if work.state == "parked" else DUE, work.entry, None)] if work.entry else []


def _dropped(found: Collection[Found]) -> list[Record]:
    """What takes away the entries that came with rows."""
    return [Record(DUE, one.entry, None) for one in found]


def _write(
    store: Store,
    unit: str,
    seen: bytes | None,
    work: Work | None,
    *more: Record,
    guard: RecordGuard | None = None,
    tally: Tally | None = None,
    count: Count | None = None,
) -> bool:
    """Puts `work` in the place of the record that was seen, and counts; False = somebody else has changed it."""
    own = [RecordGuard(WORK, unit, seen), *([guard] if guard else [])]
    records = [Record(WORK, unit, None if work is None else rows.encode(work)), *more]
    while True:
        counted = None if tally is None or count is None else tally.with_(count)
        guards = own if counted is None else [*own, counted.guard]
        try:
            store.commit([], guards, records if counted is None else [*records, counted.record])
        except GuardChanged as changed:
            if counted is not None and changed.guard == counted.guard:
                counted.lost()
                continue
            return False
        if counted is not None:
            counted.done()
        return True
