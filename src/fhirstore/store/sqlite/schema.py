"""The tables, and the schema that `open` records in them: parameters, compound indexes, pending parameters."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.model.indexing import CompoundIndex, IndexedParameter, Schema
from fhirstore.store.errors import StoreError
from fhirstore.store.schema_rules import RecordedParameter, check_compounds, is_stale, parameter_digest, schema_stamp
from fhirstore.store.sqlite.connection import SqliteSession
from fhirstore.store.sqlite.layout import STEP, NumberedCompound, SqliteLayout, SqliteParameter
from fhirstore.store.sqlite.write import SqliteWriter

APPLICATION_ID = 0x46485253  # "FHRS" in the file's header
FORMAT = 1

# docs: the current versions of live resources. versions: replaced versions and deletions.
# log: one row per version in the order of commits; seq = milliseconds since 1970 << 20 | counter;
# high = the greatest rid used so far. ix: index entries (see layout.py). cx: rows of compound indexes.
_TABLES = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE docs(rid INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    updated INTEGER NOT NULL, method TEXT NOT NULL, meta BLOB NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX docs_id ON docs(type, id);
CREATE INDEX docs_updated ON docs(type, updated, id);
CREATE TABLE versions(type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, updated INTEGER NOT NULL,
    deleted INTEGER NOT NULL, method TEXT NOT NULL, meta BLOB NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX versions_id ON versions(type, id, version);
CREATE TABLE log(seq INTEGER PRIMARY KEY, type TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    high INTEGER NOT NULL);
CREATE INDEX log_type ON log(type, seq);
CREATE TABLE ix(p INTEGER NOT NULL, k, x, r INTEGER NOT NULL, PRIMARY KEY(p, k, x, r)) WITHOUT ROWID;
CREATE INDEX ix_r ON ix(r, p, k, x);
CREATE TABLE cx(c INTEGER NOT NULL, k1, k2, k3, k4, r INTEGER NOT NULL,
    PRIMARY KEY(c, k1, k2, k3, k4, r)) WITHOUT ROWID;
CREATE TABLE uniq(key TEXT PRIMARY KEY, r INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX uniq_r ON uniq(r);
CREATE TABLE records(kind TEXT, key TEXT, value BLOB, PRIMARY KEY(kind, key)) WITHOUT ROWID;
CREATE TABLE params(p INTEGER PRIMARY KEY, type TEXT NOT NULL, code TEXT NOT NULL, digest TEXT NOT NULL,
    pending INTEGER NOT NULL, dropped INTEGER, UNIQUE(type, code));
CREATE INDEX params_pending ON params(type, code) WHERE pending AND dropped IS NULL;
CREATE TABLE compounds(c INTEGER PRIMARY KEY, type TEXT NOT NULL, params TEXT NOT NULL, dropped INTEGER,
    UNIQUE(type, params));
"""


def open_database(path: str, writer: SqliteWriter, schema: Schema) -> SqliteLayout:
    """Creates or checks the database and records the schema. Raises StartupError."""
    check_compounds(schema)
    _check_file(path)
    try:
        with writer.transaction() as session:
            _create_or_check(path, session)
            return _record(session, schema)
    except (StoreError, sqlite3.Error, OSError) as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem}") from problem


def _check_file(path: str) -> None:
    """Creates the file if it does not exist, readable by its owner only. Never changes a file of another program."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise StartupError(f"store: the folder {folder} does not exist. Create it or change the setting `store`")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem.strerror}") from problem
    header = check_header(path)
    if not header:
        # Set the id before the file has a write-ahead log, so that the first page alone identifies the file.
        conn = sqlite3.connect(path, isolation_level=None)
        try:
            conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        except sqlite3.Error as problem:
            raise StartupError(f"store: {path} cannot be written: {problem}") from problem
        finally:
            conn.close()


def check_header(path: str) -> bytes:
    """Returns the header of a fhirstore file, empty for an empty file. Raises StartupError for other files."""
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except OSError as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem.strerror}") from problem
    if header and (header[:16] != b"SQLite format 3\0" or int.from_bytes(header[68:72], "big") != APPLICATION_ID):
        raise StartupError(f"store: {path} is not a fhirstore database. Choose another path in the setting `store`")
    return header


def _create_or_check(path: str, session: SqliteSession) -> None:
    execute = session.execute
    if execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
        for statement in _TABLES.split(";"):
            execute(statement)
        execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        execute(f"PRAGMA user_version={FORMAT}")
    check_format(path, session)


def check_format(path: str, session: SqliteSession) -> None:
    """Raises StartupError for a format that this version does not support."""
    found = session.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT:
        raise StartupError(
            f"store: {path} has format {found}; this version of fhirstore supports format {FORMAT}. "
            "Export the data with the version that wrote it, and load it into a new file"
        )


def _record(session: SqliteSession, schema: Schema) -> SqliteLayout:
    now = session.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
    params: dict[str, dict[str, SqliteParameter]] = {}
    known = _recorded_parameters(session)
    for type in sorted(schema.types):
        live = session.execute("SELECT 1 FROM docs WHERE type=? LIMIT 1", (type,)).fetchone() is not None
        params[type] = {
            code: SqliteParameter(
                _parameter_number(session, type, spec, live, known.get((type, code))), spec.kind, spec.single
            )
            for code, spec in sorted(schema.types[type].items())
        }
    kept = {(type, code) for type, specs in params.items() for code in specs}
    for p, type, code in session.execute("SELECT p, type, code FROM params WHERE dropped IS NULL").fetchall():
        if (type, code) not in kept:
            session.execute("UPDATE params SET dropped=? WHERE p=?", (now, p))
    compounds = _record_compounds(session, schema.compounds, params, now)
    layout = SqliteLayout(schema_stamp(schema), params, compounds)
    session.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (layout.stamp,))
    return layout


_NumberedParameter = tuple[int, RecordedParameter]


def _recorded_parameters(session: SqliteSession) -> dict[tuple[str, str], _NumberedParameter]:
    """The number and the record of each parameter, by type and code."""
    rows = session.execute("SELECT type, code, p, digest, pending, dropped FROM params").fetchall()
    return {
        (type, code): (p, RecordedParameter(digest, bool(pending), dropped))
        for type, code, p, digest, pending, dropped in rows
    }


def _parameter_number(
    session: SqliteSession, type: str, spec: IndexedParameter, live: bool, known: _NumberedParameter | None
) -> int:
    """Returns the number of a parameter, a new one if needed, and records whether the parameter is pending.

    live: whether the type has live resources. known: the parameter as it is recorded, None if it is new."""
    digest = parameter_digest(spec)
    recorded = None if known is None else known[1]
    pending = live and is_stale(recorded, digest, lambda seq: _written_since(session, type, seq))
    if known is None:
        p: int = session.execute("SELECT coalesce(max(p), 0) FROM params").fetchone()[0] + STEP
        session.execute("INSERT INTO params VALUES (?,?,?,?,?,NULL)", (p, type, spec.code, digest, live))
    else:
        p = known[0]
        if recorded != (digest, pending, None):
            session.execute("UPDATE params SET digest=?, pending=?, dropped=NULL WHERE p=?", (digest, pending, p))
    if pending and (recorded is None or not recorded.pending or recorded.digest != digest):
        session.execute("DELETE FROM meta WHERE name=?", (f"reindex {type}",))  # reindexing starts again
    return p


def _written_since(session: SqliteSession, type: str, seq: int) -> bool:
    return session.execute("SELECT 1 FROM log WHERE type=? AND seq>? LIMIT 1", (type, seq)).fetchone() is not None


def _record_compounds(
    session: SqliteSession,
    compounds: tuple[CompoundIndex, ...],
    params: dict[str, dict[str, SqliteParameter]],
    now: int,
) -> dict[str, list[NumberedCompound]]:
    """Returns the compound indexes by type. Builds a compound index from `ix` if it is new or out of date."""
    found: dict[str, list[NumberedCompound]] = {}
    kept = set()
    for compound in dict.fromkeys(compounds):
        numbers = tuple(params[compound.type][code].p for code in compound.params)
        key = json.dumps(numbers)
        row = session.execute(
            "SELECT c, dropped FROM compounds WHERE type=? AND params=?", (compound.type, key)
        ).fetchone()
        if row is None:
            c = session.execute("INSERT INTO compounds(type, params) VALUES (?,?)", (compound.type, key)).lastrowid
            assert c is not None
        else:
            c = row[0]
            session.execute("UPDATE compounds SET dropped=NULL WHERE c=?", (c,))
        index = NumberedCompound(c, compound.params, numbers)
        if row is None or (row[1] is not None and _written_since(session, compound.type, row[1])):
            _build(session, compound.type, index)
        kept.add(c)
        found.setdefault(compound.type, []).append(index)
    for (c,) in session.execute("SELECT c FROM compounds WHERE dropped IS NULL").fetchall():
        if c not in kept:
            session.execute("UPDATE compounds SET dropped=? WHERE c=?", (now, c))
    return found


def _build(session: SqliteSession, type: str, index: NumberedCompound) -> None:
    key = "coalesce((SELECT k FROM ix INDEXED BY ix_r WHERE r=d.rid AND p=?), x'')"
    keys = ", ".join([key] * len(index.numbers) + ["''"] * (4 - len(index.numbers)))
    some = f"EXISTS(SELECT 1 FROM ix INDEXED BY ix_r WHERE r=d.rid AND p IN ({','.join('?' * len(index.numbers))}))"
    session.execute("DELETE FROM cx WHERE c=?", (index.c,))
    session.execute(
        f"INSERT INTO cx SELECT ?, {keys}, d.rid FROM docs d INDEXED BY docs_id WHERE d.type=? AND {some}",
        (index.c, *index.numbers, type, *index.numbers),
    )
