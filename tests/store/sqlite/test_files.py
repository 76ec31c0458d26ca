"""The files: creating them, refusing what is not ours, failing without leaving anything behind."""

from __future__ import annotations

import gc
import itertools
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import naive
import pytest

from fhirstore.errors import StartupError
from fhirstore.model.conditions import MATCH_ALL, Not, Present
from fhirstore.model.stored import Change
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import DuplicateKey, TimedOut, Unavailable
from fhirstore.store.sqlite import SqliteStore, schema

MakeStore = Callable[..., SqliteStore]


def thing(id: str, **more: object) -> Change:
    return Change("Thing", id, None, "PUT", b"", b'"n":1', {"tok": [("", "x")], "day1": [(1, 9**15)]}, **more)  # type: ignore[arg-type]


def test_only_the_owner_may_read_the_files(path: Path, store: SqliteStore) -> None:
    store.commit([thing("a")])

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert set(modes.values()) == {0o600}
    assert "store.db" in modes


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="missing"):
        SqliteStore(str(tmp_path / "missing" / "store.db")).open(naive.schema())


@pytest.mark.parametrize("content", [b"a text, no database", b"SQLite format 3\0" + b"\0" * 500])
def test_a_file_of_something_else_stays_as_it_is(path: Path, make_store: MakeStore, content: bytes) -> None:
    path.write_bytes(content)

    with pytest.raises(StartupError, match="not a fhirstore database"):
        make_store()

    assert path.read_bytes() == content


def test_a_database_of_something_else_stays_as_it_is(path: Path, make_store: MakeStore) -> None:
    conn = sqlite3.connect(path)
    conn.execute("CREATE TABLE mine(x)")
    conn.close()
    before = path.read_bytes()

    with pytest.raises(StartupError, match="not a fhirstore database"):
        make_store()

    assert path.read_bytes() == before


def test_a_path_that_is_a_folder_is_refused(path: Path, make_store: MakeStore) -> None:
    path.mkdir()

    with pytest.raises(StartupError):
        make_store()


def test_a_newer_format_is_refused_with_advice(path: Path, make_store: MakeStore) -> None:
    make_store().close()
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA user_version=99")
    conn.close()

    with pytest.raises(StartupError, match=r"format 99.*Export"):
        make_store()


def test_an_empty_file_becomes_a_store(path: Path, make_store: MakeStore) -> None:
    path.touch()

    assert make_store().commit([thing("a")])[0].version == 1


def test_a_store_whose_making_was_interrupted_is_made_by_the_next_opening(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "_TABLES", "CREATE TABLE meta(name); CREATE")
        with pytest.raises(StartupError):
            make_store()

    assert make_store().commit([thing("a")])[0].version == 1


def test_a_store_is_recognised_by_its_first_page_alone(path: Path, make_store: MakeStore) -> None:
    store = make_store()
    store.commit([thing("a")])

    assert int.from_bytes(path.read_bytes()[68:72], "big") == schema.APPLICATION_ID


@pytest.mark.parametrize("url", ["mysql:///x", "sqlite:x", "sqlite:///", "", "store.db"])
def test_other_urls_are_no_store(url: str) -> None:
    with pytest.raises(StartupError, match="sqlite:///PATH"):
        open_store(url, Settings())


def test_a_file_that_vanished_is_unavailable(path: Path, store: SqliteStore) -> None:
    for file in path.parent.iterdir():
        file.unlink()

    with pytest.raises(Unavailable):
        store.read("Thing", "a")
    assert not path.exists()


def test_a_closed_store_opens_again_by_itself(store: SqliteStore) -> None:
    store.commit([thing("a")])
    store.close()

    assert store.count("Thing", MATCH_ALL) == 1


def test_connections_of_threads_that_ended_are_closed(path: Path, store: SqliteStore) -> None:
    def open_logs() -> int:
        return sum(os.readlink(fd) == f"{path}-wal" for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())

    store.commit([thing("a")])
    for _ in range(5):
        thread = threading.Thread(target=lambda: store.find("Thing", MATCH_ALL))
        thread.start()
        thread.join()
    gc.collect()

    assert open_logs() == 1


def dump(path: Path) -> list[str]:
    conn = sqlite3.connect(path)
    try:
        return list(conn.iterdump())
    finally:
        conn.close()


def test_after_a_commit_that_failed_nothing_is_left(path: Path, store: SqliteStore) -> None:
    store.commit([thing("a", unique=("k",))])
    before = dump(path)

    with pytest.raises(DuplicateKey):
        store.commit([thing("b"), thing("c", unique=("k",))])

    assert dump(path) == before
    assert store.commit([thing("b")])[0].version == 1


def test_a_full_disk_is_unavailable_and_leaves_nothing(path: Path, store: SqliteStore) -> None:
    store.commit([thing("a")])
    before = dump(path)
    execute = store.connections.session().execute
    [pages] = execute("PRAGMA page_count").fetchone()
    execute(f"PRAGMA max_page_count={pages + 1}")

    with pytest.raises(Unavailable, match="full"):
        store.commit([Change("Thing", "b", None, "PUT", b"", os.urandom(100_000))])

    assert dump(path) == before
    execute("PRAGMA max_page_count=1000000")
    assert store.commit([thing("b")])[0].version == 1


def test_a_search_that_takes_too_long_is_ended(make_store: MakeStore) -> None:
    store = make_store(search_timeout_s=0.0)
    store.commit([thing(f"i{n}") for n in range(9000)])

    with pytest.raises(TimedOut, match="search_timeout_s"):
        store.count("Thing", Not(Present("str")))

    assert store.read("Thing", "i0") is not None
    assert len(store.commit([thing("more")])) == 1


def test_time_does_not_go_back_with_the_clock(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.cycle([2_000_000_000.5, 1_900_000_000.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    stored = [store.commit([thing(id)])[0] for id in "abc"]

    assert [one.updated for one in stored] == [2_000_000_000_500_000] * 3
    assert [one.id for one in store.history().entries] == ["c", "b", "a"]
    assert store.history_count(since=2_000_000_000_500_000) == 3


def test_a_file_of_another_program_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database")

    with pytest.raises(StartupError, match="not a fhirstore database"):
        open_store(f"sqlite:///{file}", Settings()).exists()
