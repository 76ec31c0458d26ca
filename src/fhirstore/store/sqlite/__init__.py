"""The embedded engine: one SQLite file, several processes, no server.

- `store`: the engine. `connection`: sessions of threads and processes.
- `schema`: the tables and the recorded schema. `layout`: how index entries are stored in them.
- `search`: searches. `normal_form` simplifies the condition, `plan` writes the SQL. `resource_cache`: resources in
  memory.
- `write`: the writer lock, transactions and commits. `read`, `history`, `reindex`, `transfer`: everything else.
"""

from __future__ import annotations

from fhirstore.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
