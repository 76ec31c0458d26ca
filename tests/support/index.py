"""Compares the index rows of a SQLite store with rows that are computed again from its resources."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from fhirstore.formats.json import compose
from fhirstore.interactions.write import extract_index
from fhirstore.model.stored import Change
from fhirstore.search.schema import make_schema
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.store import open_store

Row = tuple[Any, ...]


def stray_index_rows(path: Path, **settings: Any) -> list[str]:
    """Missing and surplus index rows, as (type, id, parameter number, key, rest)."""
    found, orphans = _rows(path)
    wanted, _ = _rows(_copy(path, **settings))
    return sorted(map(repr, (found ^ wanted) | orphans))


def _rows(path: Path) -> tuple[set[Row], set[Row]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT d.type, d.id, i.p, i.k, i.x FROM ix i LEFT JOIN docs d ON d.rid=i.r").fetchall()
    return {row for row in rows if row[0] is not None}, {row for row in rows if row[0] is None}


def _copy(path: Path, **settings: Any) -> Path:
    """A new store with the same resources."""
    ctx = build(Settings(store=f"sqlite:///{path}", **settings))
    other = path.with_suffix(".again")
    other.unlink(missing_ok=True)
    url = f"sqlite:///{other}"
    store = open_store(url, replace(ctx.settings, store=url))
    store.open(make_schema(ctx.registry, ctx.plugins.compounds()))
    with closing(ctx.store), closing(store):
        changes = []
        for s in ctx.store.scan():
            resource = json.loads(compose(s), parse_float=Decimal)
            changes.append(Change(s.type, s.id, None, "PUT", s.meta, s.body, extract_index(ctx, s.type, resource)))
        store.commit(changes)
    return other
