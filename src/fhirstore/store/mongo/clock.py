"""When commits took place: a clock with many hands, and what closes it for those who read histories.

`keys` holds `HANDS` documents, the hands. Every commit moves one of them, taken at random, inside its transaction:
from it come the commit's `updated` and the assurance that no other schema has been recorded since. Two commits on one
hand meet, and one of them is tried again, on another hand; so commits do not wait for one another as they would with
one hand, and one that a dead process left open holds up one hand only.

Who reads a history must not see a version while an older one is still to come: whoever polls with `_since` would
never see that one. So a history is read up to a `fence`: all hands are moved past a moment from outside of any
transaction, which waits for the commits under way. What is committed later has a later `updated`.
See docs/adr/0005.
"""

from __future__ import annotations

import random
import time

from pymongo import ReturnDocument, UpdateOne, timeout

from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo.connection import View
from fhirstore.store.mongo.layout import KEYS, Document

HANDS = 32
STEP = 1000  # microseconds: instants are kept in milliseconds
HAND_IDS = [f"clock {n}" for n in range(HANDS)]


def now() -> int:
    """Microseconds since 1970, a multiple of STEP."""
    return time.time_ns() // (1000 * STEP) * STEP


class Hand:
    """The hand that one commit moves, inside its transaction."""

    def __init__(self, view: View, stamp: str, least: int):
        """Moves a hand to now, or to `least` if that is later.

        Raises Unavailable if another process has opened the database with another schema: what this one would write
        lacked index entries."""
        self._view, self._id = view, random.choice(HAND_IDS)
        moved: Document | None = view.db[KEYS].find_one_and_update(
            {"_id": self._id, "stamp": stamp},
            {"$max": {"updated": max(now(), least)}},
            return_document=ReturnDocument.AFTER,
            session=view.session,
        )
        if moved is None:
            raise Unavailable("the store has been opened with other search parameters since; restart this process")
        self.updated: int = moved["updated"]

    def at_least(self, updated: int) -> int:
        """The moment of the commit, moved on where it must be later than it is."""
        if updated > self.updated:
            self._view.db[KEYS].update_one(
                {"_id": self._id}, {"$set": {"updated": updated}}, session=self._view.session
            )
            self.updated = updated
        return self.updated


def fence(view: View, stamp: str | None = None) -> int:
    """A moment that the past ends with: all commits with updated <= it are done and visible, and so are all that were
    acknowledged before the call; those to come are later. Waits for the commits under way. stamp: the schema that
    commits must know from then on, None = that of before."""
    hands = view.outside().find(KEYS, {"_id": {"$in": HAND_IDS}}, {"updated": 1}, limit=HANDS)
    moment: int = max([now(), *(hand["updated"] for hand in hands)])
    change: Document = {"$max": {"updated": moment + STEP}}
    if stamp is not None:
        change["$set"] = {"stamp": stamp}
    with timeout(view.left_ms() / 1000):
        # One by one, for the driver sends single changes again when a connection breaks; all in one command.
        view.db[KEYS].bulk_write([UpdateOne({"_id": id}, change) for id in HAND_IDS], ordered=False)
    return moment


def wind_up(view: View) -> None:
    """Makes the hands of a new store; harmless where they are there."""
    if not ticks(view):
        start = {"$setOnInsert": {"updated": 0, "stamp": ""}}
        view.db[KEYS].bulk_write([UpdateOne({"_id": id}, start, upsert=True) for id in HAND_IDS], ordered=False)


def ticks(view: View, stamp: str | None = None) -> bool:
    """Whether all hands are there, with this stamp if one is given."""
    test: Document = {"_id": {"$in": HAND_IDS}} | ({} if stamp is None else {"stamp": stamp})
    return view.count(KEYS, test, None) == HANDS
