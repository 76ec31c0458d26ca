"""The outbox as those see it who run it: how many are in each state, which ones, and what became of each.

How many and which is read from the entries in the order of time (`rows`), so no message is looked at but of those that
are shown.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from fhirstore.plugins import Store, with_snapshot
from fhirstore_sas.relay import rows
from fhirstore_sas.relay.message import identifier_of
from fhirstore_sas.relay.outbox import state_of
from fhirstore_sas.relay.rows import DUE, PARKED, ROWS, SENT, WORK, State, Work

UNFINISHED: tuple[State, ...] = ("waiting", "sending", "parked")
STATES = (*UNFINISHED, "sent")
_SHOWN: tuple[State, ...] = ("parked", "sending", "waiting")
_ALL = 2**62


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of the outbox. id, version: of the appointment. message: the latest that is to be sent, or was sent."""

    unit: str
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
        return "|".join(identifier_of(self.message) or ("", ""))


@dataclass(frozen=True, slots=True)
class Survey:
    """counts, units: by state; the units as far as they were wanted, those first that are due first, or were parked
    first. oldest: seconds since 1970, since when the one waits that waits longest, or is being sent; None = none does.
    attempts: to send those that wait or are being sent."""

    counts: dict[State, int]
    units: dict[State, list[str]]
    oldest: float | None
    attempts: int


class _Name(msgspec.Struct, frozen=True):
    """What names a row or what was sent."""

    appointment: str
    message: Any


_name = msgspec.json.Decoder(_Name).decode


def survey(store: Store, most: int = 0) -> Survey:
    """All that is not sent. most: so many units of each state are named."""
    return with_snapshot(store, lambda: _survey(store, most))


def _survey(store: Store, most: int) -> Survey:
    now, oldest, attempts = rows.due_key(time.time(), "~"), None, 0
    states: dict[str, State] = {}
    for one in rows.records(store, DUE):
        unit, entry = rows.unit_in(one.key), rows.entry(one.value or b"")
        # A unit has several entries where there is news of it; one that is being sent waits for nothing else.
        if entry.state == "sending" and one.key > now:
            states[unit] = "sending"
        elif unit not in states:
            states[unit] = "waiting"
        attempts += entry.attempts
        if oldest is None or entry.at < oldest:
            oldest = entry.at
    for one in rows.records(store, PARKED):
        states.setdefault(rows.unit_in(one.key), "parked")
    units: dict[State, list[str]] = {state: [] for state in UNFINISHED}
    counts: dict[State, int] = dict.fromkeys(UNFINISHED, 0)
    for unit, state in states.items():
        counts[state] += 1
        if len(units[state]) < most:
            units[state].append(unit)
    return Survey(counts, units, oldest, attempts)


def parked(store: Store) -> int:
    """How many are parked; no more than `rows.PAGE` are counted."""
    return len(store.records(PARKED, limit=rows.PAGE))


def parked_units(store: Store) -> Iterator[str]:
    """All that are parked, those first that were parked first."""
    return (rows.unit_in(one.key) for one in rows.records(store, PARKED))


def items(store: Store, states: Collection[str] = UNFINISHED, most: int | None = None) -> Iterator[Item]:
    """Units in these states, `most` of each at most, those first that are parked, then those that are due first; the
    sent ones come last, the latest first where `most` is given. One that changes meanwhile may be missed."""
    if not set(states).isdisjoint(UNFINISHED):
        found = survey(store, _ALL if most is None else most)
        yield from named(store, found, states)
    if "sent" in states:
        done = rows.records(store, SENT)
        if most is not None:
            done = iter(heapq.nlargest(most, done, key=lambda one: rows.sent_at(one.value or b"").at))
        for one in done:
            item = item_of(store, one.key)
            if item is not None and item.state == "sent":
                yield item


def named(store: Store, found: Survey, states: Collection[str] = UNFINISHED) -> Iterator[Item]:
    """What the outbox has of the units that a survey names."""
    for unit in [unit for state in _SHOWN for unit in found.units[state] if state in states]:
        if (item := item_of(store, unit)) is not None:
            yield item


def item_of(store: Store, unit: str) -> Item | None:
    """What the outbox has of a unit; None = nothing."""
    return with_snapshot(store, lambda: _item_of(store, unit))


def _item_of(store: Store, unit: str) -> Item | None:
    if found := rows.rows_of(store, unit):
        value, last = rows.record(store, WORK, unit), found[-1]
        work, row = Work() if value is None else rows.work(value), rows.row(last.value)
        state = state_of(work, last.seq, time.time())
        return Item(
            unit, row.appointment, row.version, row.message, state, row.at, work.attempts, work.next, work.status,
            work.error,
        )  # fmt: skip
    value = rows.record(store, SENT, unit)
    if value is None:
        return None
    one = rows.sent(value)
    return Item(
        unit, one.appointment, one.version, one.message, "sent", one.at, one.attempts, None, one.status, "",
        one.location,
    )  # fmt: skip


def called(store: Store, name: str) -> list[str]:
    """The units of this name: the identifier SYSTEM|VALUE, its value alone, or the id of the appointment."""
    system, bar, value = name.rpartition("|")
    if bar and (item := item_of(store, rows.unit_of((system, value)))) is not None:
        return [item.unit]
    id = name.removeprefix("Appointment/")
    found: dict[str, None] = {}
    for kind in (ROWS, SENT):
        for one in rows.records(store, kind):
            known = _name(one.value or b"")
            whole = identifier_of(known.message)
            if id == known.appointment or (whole is not None and id in (whole[1], "|".join(whole))):
                found[one.key.partition(" ")[0]] = None
    return list(found)
