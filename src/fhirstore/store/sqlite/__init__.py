"""The embedded engine: one SQLite file, several processes, no server.

- `store`: the engine. `connection`: threads, processes and locks.
- `schema`: the tables and the recorded schema. `layout`: how index entries are stored in them.
- `simplify`, `plan`, `compile`, `leaf_sql`, `search`: searches. `resource_cache`: resources in memory.
- `write`, `read`, `history`, `reindex`, `transfer`: everything else.
"""

from __future__ import annotations

from fhirstore.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
