"""What the relay has done so far, in numbers that survive it.

Each sender has a record of its own and writes it in the commit that notes the result, so that no two meet and nothing
is counted twice. Records of senders that have long been silent are added up in one.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

import msgspec

from fhirstore.plugins import GuardChanged, Record, RecordGuard, Store
from fhirstore_sas.relay.rows import record, records

KIND = "sas-tally"
PAST = "past"
SILENT_S = 86400.0
_MOST = 500  # records that are added up in one commit


class Count(msgspec.Struct, frozen=True):
    """sent: confirmed by the platform. failed: attempts that came to nothing; parked: those of them after which
    nothing is tried again. last: of the last success; at: of the record; seconds since 1970, 0 = never."""

    sent: int = 0
    failed: int = 0
    parked: int = 0
    last: float = 0.0
    at: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.sent + other.sent,
            self.failed + other.failed,
            self.parked + other.parked,
            max(self.last, other.last),
            max(self.at, other.at),
        )


_decode = msgspec.json.Decoder(Count).decode
_encode = msgspec.json.encode


class Tally:
    """The numbers of one sender; for one thread."""

    def __init__(self) -> None:
        self._key = uuid.uuid4().hex
        self._seen: bytes | None = None
        self._count = Count()

    def with_(self, count: Count) -> Counted:
        """What goes with a commit after which that is to be added."""
        total = self._count + msgspec.structs.replace(count, at=time.time())
        value = _encode(total)
        return Counted(self, RecordGuard(KIND, self._key, self._seen), Record(KIND, self._key, value), total)

    def set(self, seen: bytes | None, count: Count) -> None:
        self._seen, self._count = seen, count


@dataclass(frozen=True, slots=True)
class Counted:
    tally: Tally
    guard: RecordGuard
    record: Record
    total: Count

    def done(self) -> None:
        """It is stored."""
        self.tally.set(self.record.value, self.total)

    def lost(self) -> None:
        """The record has been added to the past: the sender begins anew."""
        self.tally.set(None, Count())


def total(store: Store) -> Count:
    """Of all senders that ever were."""
    return sum((_decode(one.value or b"") for one in records(store, KIND)), Count())


def fold(store: Store, before: float) -> int:
    """Adds up the records of those who have been silent since that moment (seconds since 1970); their number."""
    known = {one.key: one.value or b"" for one in store.records(KIND, limit=_MOST)}
    old = [key for key, value in known.items() if key != PAST and _decode(value).at < before]
    if not old:
        return 0
    past = record(store, KIND, PAST)
    both = [Count() if past is None else _decode(past), *(_decode(known[key]) for key in old)]
    guards = [RecordGuard(KIND, PAST, past), *(RecordGuard(KIND, key, known[key]) for key in old)]
    changed = [Record(KIND, PAST, _encode(sum(both, Count()))), *(Record(KIND, key, None) for key in old)]
    try:
        store.commit([], guards, changed)
    except GuardChanged:
        return 0  # one of them was not as silent; next time
    return len(old)
