"""Faults of the file while the server runs: it is removed or replaced, the disk is full, pages are damaged."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import naive
import pytest

from fhirstore.model.conditions import MATCH_ALL, Ids, Not, Present
from fhirstore.model.stored import Change, Guard, Record
from fhirstore.store.errors import StoreError, TimedOut, Unavailable
from fhirstore.store.sqlite import SqliteStore
from fhirstore.store.sqlite import store as engine

MakeStore = Callable[..., SqliteStore]
SECRET = "Ms. Secret"
fork = multiprocessing.get_context("fork")


def thing(id: str, replaces: int | None = None, size: int = 0) -> Change:
    body = b'"name":"%s","data":"%s"' % (SECRET.encode(), b"x" * size)
    return Change("Thing", id, replaces, "PUT", b"", body, {"tok": [("", SECRET)]})


def remove(path: Path) -> None:
    path.unlink()


def replace_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_suffix(".copy"))
    os.replace(path.with_suffix(".copy"), path)


def replace_by_another_file(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"")


def remove_all_files(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()


def remove_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def replace_the_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()
    Path(f"{path}-wal").touch()


CHANGES = [
    remove, replace_by_a_copy, replace_by_another_file, remove_all_files, remove_the_log, replace_the_log,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_removed_or_replaced_stops_writes(
    path: Path, store: SqliteStore, change: Callable[[Path], None]
) -> None:
    store.commit([thing("a")])
    change(path)
    files = sorted(path.parent.iterdir())

    for write in (
        lambda: store.commit([thing("b")]),
        lambda: store.commit([], (), [Record("kind", "key", b"")]),
        store.probe,
        lambda: store.set_secret(b"x" * 32),
    ):
        with pytest.raises(Unavailable, match="removed or replaced"):
            write()

    assert sorted(path.parent.iterdir()) == files
    assert store.read("Thing", "b") is None


@pytest.mark.parametrize("change", [remove, replace_by_a_copy, replace_by_another_file, remove_all_files])
def test_no_thread_opens_a_file_that_was_removed_or_replaced(
    path: Path, store: SqliteStore, change: Callable[[Path], None]
) -> None:
    store.commit([thing("a")])
    change(path)
    before = path.read_bytes() if path.exists() else None

    with ThreadPoolExecutor(1) as other:
        for use in (lambda: store.read("Thing", "a"), lambda: store.count("Thing", MATCH_ALL), store.probe):
            with pytest.raises(Unavailable, match="removed or replaced"):
                other.submit(use).result()

    assert (path.read_bytes() if path.exists() else None) == before


def test_a_process_started_later_does_not_create_the_file_again(path: Path, store: SqliteStore) -> None:
    remove_all_files(path)
    child = fork.Process(target=_expect_unavailable, args=(store,))
    child.start()
    child.join()

    assert child.exitcode == 0
    assert list(path.parent.iterdir()) == []


def _expect_unavailable(store: SqliteStore) -> None:
    for use in (lambda: store.commit([thing("b")]), lambda: store.read("Thing", "a"), store.probe):
        try:
            use()
        except Unavailable:
            continue
        os._exit(1)
    os._exit(0)


def test_a_restart_takes_the_file_that_is_there(path: Path, store: SqliteStore) -> None:
    store.commit([thing("a")])
    store.close()
    replace_by_a_copy(path)

    store.open(naive.schema())

    store.probe()
    assert store.commit([thing("b")])[0].version == 1
    assert store.read("Thing", "a") is not None


def _write_on_a_full_disk(store: SqliteStore, path: Path, answers: Any) -> None:
    """Runs in a process of its own, because the limit counts for the whole process."""
    store.commit([thing("a")])
    most = Path(f"{path}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    found = [_outcome(lambda: store.commit([thing("b", size=200_000)])), _outcome(store.probe)]
    found += [str(store.read("Thing", "b")), str(store.count("Thing", MATCH_ALL))]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found += [_outcome(lambda: store.commit([thing("b")])), _outcome(store.probe)]
    answers.send(found)


def _outcome(use: Callable[[], object]) -> str:
    try:
        use()
    except StoreError as problem:
        return type(problem).__name__
    return "done"


def test_the_probe_fails_while_the_disk_is_full(path: Path, store: SqliteStore) -> None:
    here, there = fork.Pipe()
    child = fork.Process(target=_write_on_a_full_disk, args=(store, path, there))
    child.start()
    found = here.recv() if here.poll(60) else None
    child.join()

    assert found == ["Unavailable", "Unavailable", "None", "1", "done", "done"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of a file system of 16 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_reported_and_nothing_is_lost(small_disk: Path) -> None:
    store = SqliteStore(str(small_disk / "store.db"))
    store.open(naive.schema())
    store.probe()
    stored: list[str] = []

    def fill() -> None:
        for n in range(200):
            store.commit([thing(f"i{n}", size=50_000)])
            stored.append(f"i{n}")

    (small_disk / "other").write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))

    with pytest.raises(Unavailable):
        fill()
    with pytest.raises(Unavailable, match="free"):
        store.probe()
    assert {one.id for one in store.find("Thing", MATCH_ALL).entries} == set(stored)

    (small_disk / "other").unlink()
    store.probe()
    store.commit([thing("b", size=50_000)])
    assert {one.id for one in store.find("Thing", MATCH_ALL).entries} == {*stored, "b"}
    store.close()


@pytest.fixture
def damaged(path: Path, make_store: MakeStore) -> SqliteStore:
    """A store whose resources are overwritten in part. The pages of all other tables are as before."""
    store = make_store()
    store.commit([thing(f"i{n:03}", size=3000) for n in range(200)])
    store.close()
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), 4096):
        if b"x" * 1000 in data[start : start + 4096]:
            data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    return store


def test_damage_is_reported_by_the_probe_once_a_request_meets_it(damaged: SqliteStore) -> None:
    with pytest.raises(Unavailable, match="damaged"):
        list(damaged.scan("Thing"))

    with pytest.raises(Unavailable, match="damaged"):
        damaged.probe()


def test_faults_are_logged_without_values(damaged: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        with pytest.raises(Unavailable):
            list(damaged.scan("Thing"))

    [line] = caplog.messages
    assert "damaged" in line
    assert SECRET not in caplog.text


def test_a_file_that_was_removed_is_logged_once(
    path: Path, store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.commit([thing("a")])
    path.unlink()
    for _ in range(5):
        with pytest.raises(Unavailable):
            store.commit([thing(SECRET)])

    [line] = caplog.messages
    assert "removed or replaced" in line
    assert SECRET not in caplog.text


def test_a_search_that_runs_ends_at_the_deadline(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.commit([thing(f"i{n}") for n in range(9000)])
    at = time.monotonic() - 1
    monkeypatch.setattr(engine, "monotonic", lambda: at - 1)  # the search begins in time

    with store.deadline(at), pytest.raises(TimedOut, match="request_timeout_s"):
        store.count("Thing", Not(Present("str")))

    assert store.count("Thing", MATCH_ALL) == 9000


def test_a_guard_ends_at_the_deadline_and_nothing_is_stored(store: SqliteStore) -> None:
    store.commit([thing(f"i{n}") for n in range(9000)])
    guard = Guard("Thing", Not(Present("tok")), frozenset())

    with store.deadline(time.monotonic() - 1), pytest.raises(TimedOut):
        store.commit([thing("new")], [guard])

    assert store.read("Thing", "new") is None
    assert store.commit([thing("new")], [guard])[0].version == 1


def test_a_deadline_does_not_end_a_commit_whose_guards_hold(store: SqliteStore) -> None:
    guard = Guard("Thing", Ids(("new",)), frozenset())
    session = store.connections.session()
    session.conn.set_progress_handler(session.timer.is_late, 1)  # at each step of each statement
    with store.deadline(time.monotonic() - 1):
        assert store.commit([thing("a")])[0].version == 1
        with pytest.raises(TimedOut):
            store.commit([thing("new")], [guard])
    with store.deadline(time.monotonic() + 3600):
        assert store.commit([thing("new")], [guard])[0].version == 1


def test_a_file_that_is_removed_while_a_connection_opens_is_not_created(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stat = os.stat

    def removed_after(file: Any, **more: Any) -> os.stat_result:
        found = stat(file, **more)
        if file == str(path):
            remove_all_files(path)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", removed_after)
        with pytest.raises(Unavailable):
            store.read("Thing", "a")

    assert not path.exists()


def test_a_deadline_of_one_thread_does_not_end_the_search_of_another(store: SqliteStore) -> None:
    store.commit([thing(f"i{n}") for n in range(9000)])
    found: list[int] = []
    with store.deadline(time.monotonic() - 1):
        other = threading.Thread(target=lambda: found.append(store.count("Thing", Not(Present("str")))))
        other.start()
        other.join()

    assert found == [9000]
