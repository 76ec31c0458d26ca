"""The records of the outbox: what they hold, and under which keys.

The unit of the outbox is an identifier, since the platform knows an appointment by that alone: of two appointments that
have had one identifier after each other, what is told of the later one must not be overtaken by the earlier one's end.
`<unit>` is a hash of system and value, `<seq>` counts what there was to tell of it.

| Kind | Key | Written by |
|---|---|---|
| `sas-outbox` | `<unit> <seq>` | the commit of this version; goes when this or a later one is sent |
| `sas-head` | `<unit>` | the same commits: the last `<seq>` |
| `sas-due` | `<time> <unit> <seq>` | the same commits: it is due at once |
| `sas-due` | `<time> <unit>` | workers: the next attempt, or the end of a lease |
| `sas-parked` | `<time> <unit>` | workers: what nobody tries again |
| `sas-relay` | `<unit>` | workers: attempts, the lease, parking; deleted when all is sent |
| `sas-sent` | `<unit>` | workers: what was sent last; kept for a month |

`sas-due` and `sas-parked` are small and in the order of time, so that neither workers nor numbers need look at the
messages, however many wait. Each row of the outbox has an entry in one of them, its own or that of its unit's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec

from fhirstore.plugins import Record, Store

ROWS, HEAD, DUE, PARKED, WORK, SENT = "sas-outbox", "sas-head", "sas-due", "sas-parked", "sas-relay", "sas-sent"
PAGE = 1000
_FEW = 3
State = Literal["waiting", "sending", "parked"]


class Row(msgspec.Struct, frozen=True):
    """A version that the platform is to be told. appointment, version: of the resource. first: nothing was ever told
    under this identifier. at: seconds since 1970."""

    appointment: str
    version: int
    message: dict[str, Any]
    first: bool
    at: float


class Head(msgspec.Struct, frozen=True):
    """What is looked at of a row when there are many."""

    first: bool
    at: float


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What an entry in the order of time says. at: that of the row; attempts: of this version so far."""

    at: float
    attempts: int
    state: State


class Work(msgspec.Struct, frozen=True):
    """How far the sending has come.

    state: waiting | sending | parked. seq: that of the last attempt. attempts: of this version. tried: something may
    have reached the platform. next, since, until: seconds since 1970; when it is tried again, since when it is tried,
    when the lease of `owner` ends. at: that of the row. entry: the key of its entry in the order of time. status,
    error: of the last answer."""

    state: State = "waiting"
    seq: int = 0
    attempts: int = 0
    tried: bool = False
    next: float = 0.0
    since: float = 0.0
    owner: str = ""
    until: float = 0.0
    at: float = 0.0
    entry: str = ""
    status: int | None = None
    error: str = ""


class Sent(msgspec.Struct, frozen=True):
    """What the platform has confirmed last. location: where it keeps the appointment. etag: of its version there."""

    appointment: str
    version: int
    seq: int
    message: dict[str, Any]
    at: float
    attempts: int
    status: int
    location: str = ""
    etag: str = ""


class SentAt(msgspec.Struct, frozen=True):
    """What is looked at of what was sent when there is much."""

    at: float


class Found(NamedTuple):
    """A row as it is stored."""

    seq: int
    key: str
    value: bytes
    head: Head

    @property
    def entry(self) -> str:
        """The key of the entry that came with the row."""
        return due_key(self.head.at, self.key)


encode = msgspec.json.Encoder(decimal_format="number").encode
row = msgspec.json.Decoder(Row).decode
entry = msgspec.json.Decoder(Entry).decode
work = msgspec.json.Decoder(Work).decode
sent = msgspec.json.Decoder(Sent).decode
sent_at = msgspec.json.Decoder(SentAt).decode
_head = msgspec.json.Decoder(Head).decode


def unit_of(identifier: tuple[str, str]) -> str:
    """The unit of an identifier, (system, value)."""
    system, value = identifier
    return hashlib.sha256(f"{len(system)} {system} {value}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def row_key(unit: str, seq: int) -> str:
    return f"{unit} {seq:010d}"


def due_key(at: float, name: str) -> str:
    """at: seconds since 1970. name: the key of the row, or the unit."""
    return f"{max(int(at * 1e6), 0):017d} {name}"


def moment_of(key: str) -> float:
    """When what stands under this key of `sas-due` or `sas-parked` is due, or was parked: seconds since 1970."""
    return int(key[:17]) / 1e6


def unit_in(key: str) -> str:
    """The unit in a key of `sas-due` or `sas-parked`."""
    return key[18:50]


def records(store: Store, kind: str, after: str = "", page: int = PAGE) -> Iterator[Record]:
    """All records of a kind behind a key, read by the page."""
    while found := store.records(kind, after, page):
        yield from found
        if len(found) < page:
            return
        after = found[-1].key


def record(store: Store, kind: str, key: str) -> bytes | None:
    """The value of one record; None = there is none."""
    found = store.get_record(kind, key)
    return found.value if found else None


def rows_of(store: Store, unit: str) -> list[Found]:
    """The rows of one unit, the latest last."""
    found: list[Found] = []
    after, page = row_key(unit, 0), _FEW  # what lies behind is of other units
    while some := store.records(ROWS, after, page):
        for one in some:
            if not one.key.startswith(unit):
                return found
            value = one.value or b""
            found.append(Found(int(one.key.rpartition(" ")[2]), one.key, value, _head(value)))
        if len(some) < page:
            return found
        after, page = some[-1].key, PAGE
    return found
