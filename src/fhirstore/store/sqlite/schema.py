"""The tables, and what happens when a database is opened with a schema: create, check, intern, mark as pending."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.model.indexing import CompoundIndex, IndexedParameter, Schema
from fhirstore.store.errors import StoreError
from fhirstore.store.sqlite.connection import Connections, Session
from fhirstore.store.sqlite.layout import STEP, Layout, Param, StoredCompound

APPLICATION_ID = 0x46485253  # "FHRS" in the file's header
FORMAT = 1

# docs: the live resources, each in its current version. versions: what was replaced, and deletions.
# log: one row per version in the order of commits; seq = milliseconds since 1970 << 20 | counter;
# high = the greatest rid given out so far. ix: index entries (see layout.py). cx: rows of compound indexes.
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


def open_database(path: str, connections: Connections, schema: Schema) -> Layout:
    """Creates the database where there is none, checks it otherwise, and records the schema. Raises StartupError."""
    _check_compounds(schema)
    _check_file(path)
    try:
        with connections.writing() as session:
            _create_or_check(path, session)
            return _record(session, schema)
    except (StoreError, sqlite3.Error, OSError) as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem}") from problem


def _check_compounds(schema: Schema) -> None:
    for compound in schema.compounds:
        declared = schema.types.get(compound.type, {})
        named = f"compound index {compound.type}({', '.join(compound.params)})"
        if not 2 <= len(compound.params) <= 4:
            raise StartupError(f"{named}: 2 to 4 parameters are possible")
        for code in compound.params:
            if code not in declared:
                raise StartupError(f"{named}: the capability statement declares no parameter {code!r} for this type")
            if not declared[code].single:
                raise StartupError(f"{named}: {code!r} can have several values; only single-valued ones are possible")


def _check_file(path: str) -> None:
    """Leaves a file that is not ours as it is; makes one, for its owner only, where there is none."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise StartupError(f"store: the folder {folder} does not exist; create it or change the setting `store`")
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem.strerror}") from problem
    header = check_header(path)
    if not header:
        # Before the file has a write-ahead log: later openings recognise it by its first page alone.
        conn = sqlite3.connect(path, isolation_level=None)
        try:
            conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        except sqlite3.Error as problem:
            raise StartupError(f"store: {path} cannot be written: {problem}") from problem
        finally:
            conn.close()


def check_header(path: str) -> bytes:
    """The beginning of a file of ours, empty for an empty file. Raises StartupError for one of something else."""
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except OSError as problem:
        raise StartupError(f"store: {path} cannot be opened: {problem.strerror}") from problem
    if header and (header[:16] != b"SQLite format 3\0" or int.from_bytes(header[68:72], "big") != APPLICATION_ID):
        raise StartupError(f"store: {path} is a file of something else; choose another path in the setting `store`")
    return header


def _create_or_check(path: str, session: Session) -> None:
    execute = session.execute
    if execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None:
        for statement in _TABLES.split(";"):
            execute(statement)
        execute("INSERT INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
        execute(f"PRAGMA user_version={FORMAT}")
    check_format(path, session)


def check_format(path: str, session: Session) -> None:
    """Raises StartupError for a format that this version does not know."""
    found = session.execute("PRAGMA user_version").fetchone()[0]
    if found != FORMAT:
        raise StartupError(
            f"store: {path} has format {found}, this version of fhirstore knows {FORMAT}; "
            "start the version that wrote it, export the data with it, and load them into a new file"
        )


def _record(session: Session, schema: Schema) -> Layout:
    now = session.execute("SELECT coalesce(max(seq), 0) FROM log").fetchone()[0]
    params: dict[str, dict[str, Param]] = {}
    columns = "type, code, p, digest, pending, dropped"
    known: dict[tuple[str, str], _Row] = {
        (type, code): (p, digest, bool(pending), dropped)
        for type, code, p, digest, pending, dropped in session.execute(f"SELECT {columns} FROM params").fetchall()
    }
    for type in sorted(schema.types):
        live = session.execute("SELECT 1 FROM docs WHERE type=? LIMIT 1", (type,)).fetchone() is not None
        params[type] = {
            code: Param(_intern(session, type, spec, live, known.get((type, code))), spec.kind, spec.single)
            for code, spec in sorted(schema.types[type].items())
        }
    kept = {(type, code) for type, specs in params.items() for code in specs}
    for p, type, code in session.execute("SELECT p, type, code FROM params WHERE dropped IS NULL").fetchall():
        if (type, code) not in kept:
            session.execute("UPDATE params SET dropped=? WHERE p=?", (now, p))
    compounds = _record_compounds(session, schema.compounds, params, now)
    layout = Layout(_stamp(schema), params, compounds)
    session.execute("INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (layout.stamp,))
    return layout


_Row = tuple[int, str, bool, int | None]
"""(number, digest, pending, dropped) of a parameter."""


def _intern(session: Session, type: str, spec: IndexedParameter, live: bool, row: _Row | None) -> int:
    """The number of a parameter; marks it as pending where resources exist whose entries are not known to be right.
    row: the parameter as it is recorded, None if it is not."""
    digest = f"{spec.kind} {spec.single} {spec.digest}"
    if row is None:
        p: int = session.execute("SELECT coalesce(max(p), 0) FROM params").fetchone()[0] + STEP
        session.execute("INSERT INTO params VALUES (?,?,?,?,?,NULL)", (p, type, spec.code, digest, live))
        pending = live
    else:
        p, recorded, was_pending, dropped = row
        pending = live and (was_pending or digest != recorded or _written_since(session, type, dropped))
        if (digest, pending, None) != (recorded, was_pending, dropped):
            session.execute("UPDATE params SET digest=?, pending=?, dropped=NULL WHERE p=?", (digest, pending, p))
        if pending == was_pending and digest == recorded:
            return p
    if pending:
        session.execute("DELETE FROM meta WHERE name=?", (f"reindex {type}",))
    return p


def _written_since(session: Session, type: str, seq: int | None) -> bool:
    if seq is None:
        return False
    return session.execute("SELECT 1 FROM log WHERE type=? AND seq>? LIMIT 1", (type, seq)).fetchone() is not None


def _record_compounds(
    session: Session, compounds: tuple[CompoundIndex, ...], params: dict[str, dict[str, Param]], now: int
) -> dict[str, list[StoredCompound]]:
    """Compound indexes by type; one that is new, or was not kept up to date, is built from `ix` at once."""
    found: dict[str, list[StoredCompound]] = {}
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
        index = StoredCompound(c, compound.params, numbers)
        if row is None or _written_since(session, compound.type, row[1]):
            _build(session, compound.type, index)
        kept.add(c)
        found.setdefault(compound.type, []).append(index)
    for (c,) in session.execute("SELECT c FROM compounds WHERE dropped IS NULL").fetchall():
        if c not in kept:
            session.execute("UPDATE compounds SET dropped=? WHERE c=?", (now, c))
    return found


def _build(session: Session, type: str, index: StoredCompound) -> None:
    key = "coalesce((SELECT k FROM ix INDEXED BY ix_r WHERE r=d.rid AND p=?), x'')"
    keys = ", ".join([key] * len(index.numbers) + ["''"] * (4 - len(index.numbers)))
    some = f"EXISTS(SELECT 1 FROM ix INDEXED BY ix_r WHERE r=d.rid AND p IN ({','.join('?' * len(index.numbers))}))"
    session.execute("DELETE FROM cx WHERE c=?", (index.c,))
    session.execute(
        f"INSERT INTO cx SELECT ?, {keys}, d.rid FROM docs d INDEXED BY docs_id WHERE d.type=? AND {some}",
        (index.c, *index.numbers, type, *index.numbers),
    )


def _stamp(schema: Schema) -> str:
    """The same for the same schema, in whatever order it was declared."""
    specs = [
        [type, code, spec.kind, spec.single, spec.digest]
        for type in sorted(schema.types)
        for code, spec in sorted(schema.types[type].items())
    ]
    compounds = sorted([compound.type, *compound.params] for compound in schema.compounds)
    return hashlib.sha256(json.dumps([specs, compounds]).encode()).hexdigest()
