"""The production engine: MongoDB 6 or newer, a replica set (one node suffices) or a sharded cluster.

- `store`: the engine. `connection`: clients and sessions. `transaction`: write transactions and their retries.
- `schema`: the recorded schema. `layout`: how resources are stored in documents. `indexes`, `index_builds`: indexes.
- `filters`, `joins`, `search`: searches.
- `write`, `clock`, `guard_locks`: commits. `read`, `history`, `reindex`, `transfer`: everything else.

Only this package imports pymongo.
"""

from __future__ import annotations

from fhirstore.store.mongo.store import MongoStore

__all__ = ["MongoStore"]
