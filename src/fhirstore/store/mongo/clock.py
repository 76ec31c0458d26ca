"""The time of commits: a sharded clock, and a barrier for readers of histories.

`keys` holds `CLOCK_SHARDS` documents. Every commit advances one of them, chosen at random, inside its transaction. It
gives the commit its `updated`, and ensures that no other schema has been recorded since. Two commits on one shard
conflict, and one of them is retried on another shard. So commits rarely wait for one another, and the transaction of a
dead process blocks one shard only.

A reader of a history must not see a version while an older one is not committed yet: a client that polls with `_since`
would never see the older one. So a history is read up to a `barrier`: all shards are advanced past a moment outside of
any transaction, which waits for the commits in progress. Later commits have a later `updated`. See docs/adr/0005.
"""

from __future__ import annotations

import random
import time

from pymongo import ReturnDocument, UpdateOne, timeout

from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo.connection import MongoSession
from fhirstore.store.mongo.layout import KEYS, Document
from fhirstore.store.schema_rules import SCHEMA_CHANGED

CLOCK_SHARDS = 32
STEP = 1000  # microseconds: instants are stored in milliseconds
SHARD_IDS = [f"clock {n}" for n in range(CLOCK_SHARDS)]


def now() -> int:
    """Returns the microseconds since 1970, a multiple of STEP."""
    return time.time_ns() // (1000 * STEP) * STEP


class ClockShard:
    """The shard that one commit advances, inside its transaction."""

    def __init__(self, session: MongoSession, stamp: str, least: int):
        """Advances a shard to now, or to `least` if that is later.

        Raises Unavailable if another process has opened the database with another schema: the index entries of this
        process would be incomplete."""
        self._session, self._id = session, random.choice(SHARD_IDS)
        advanced: Document | None = session.db[KEYS].find_one_and_update(
            {"_id": self._id, "stamp": stamp},
            {"$max": {"updated": max(now(), least)}},
            return_document=ReturnDocument.AFTER,
            session=session.driver_session,
        )
        if advanced is None:
            raise Unavailable(SCHEMA_CHANGED)
        self.updated: int = advanced["updated"]

    def at_least(self, updated: int) -> int:
        """Advances the shard to `updated` if it is earlier. Returns the time of the commit."""
        if updated > self.updated:
            self._session.db[KEYS].update_one(
                {"_id": self._id}, {"$set": {"updated": updated}}, session=self._session.driver_session
            )
            self.updated = updated
        return self.updated


def barrier(session: MongoSession, stamp: str | None = None) -> int:
    """Returns a moment that ends the past: all commits with an `updated` up to it are visible, and all that were
    acknowledged before the call; later commits have a later `updated`. Waits for the commits in progress.

    stamp: the schema that later commits must have, None for the recorded one."""
    shards = session.outside().find(KEYS, {"_id": {"$in": SHARD_IDS}}, {"updated": 1}, limit=CLOCK_SHARDS)
    moment: int = max([now(), *(shard["updated"] for shard in shards)])
    change: Document = {"$max": {"updated": moment + STEP}}
    if stamp is not None:
        change["$set"] = {"stamp": stamp}
    with timeout(session.left_ms() / 1000):
        # Single updates, because the driver retries those when a connection breaks; all in one command.
        session.db[KEYS].bulk_write([UpdateOne({"_id": id}, change) for id in SHARD_IDS], ordered=False)
    return moment


def create_clock(session: MongoSession) -> None:
    """Creates the shards of a new store. Does nothing if they exist."""
    if not clock_is_complete(session):
        start = {"$setOnInsert": {"updated": 0, "stamp": ""}}
        session.db[KEYS].bulk_write([UpdateOne({"_id": id}, start, upsert=True) for id in SHARD_IDS], ordered=False)


def newest_time(session: MongoSession) -> int | None:
    """The latest time of all shards: that of the newest commit or of a later barrier. None unless all shards exist."""
    shards = list(session.find(KEYS, {"_id": {"$in": SHARD_IDS}}, {"updated": 1}, limit=CLOCK_SHARDS))
    return max(shard["updated"] for shard in shards) if len(shards) == CLOCK_SHARDS else None


def clock_is_complete(session: MongoSession, stamp: str | None = None) -> bool:
    """Whether all shards exist, with this stamp if one is given."""
    test: Document = {"_id": {"$in": SHARD_IDS}} | ({} if stamp is None else {"stamp": stamp})
    return session.count(KEYS, test, None) == CLOCK_SHARDS
