"""Several processes and threads on one file: nothing is lost, nothing is half there, whoever is killed.

STORE_KILLS in the environment says how many writers are killed (default 6).
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import naive
import pytest

from fhirstore.model.conditions import Token
from fhirstore.model.stored import Change, Record
from fhirstore.store.errors import Unavailable, VersionConflict
from fhirstore.store.sqlite import SqliteStore

KILLS = int(os.environ.get("STORE_KILLS", "6"))
MakeStore = Callable[..., SqliteStore]
fork = multiprocessing.get_context("fork")


def entries(number: int) -> dict[str, list[tuple[object, ...]]]:
    """Index entries that follow from a body that is a number; they fill a compound index too."""
    return {
        "tok": [("", str(number))],
        "str": [(f"n{number % 7}", "N")],
        "ref1": [(f"Other/{number % 5}",)],
        "tok1": [("", "free")],
        "day1": [(number, number + 1)],
    }


def change(id: str, replaces: int | None, number: int) -> Change:
    return Change("Thing", id, replaces, "PUT", b"", str(number).encode(), entries(number))


def add_one(store: SqliteStore, id: str) -> None:
    """One more, however often others are faster."""
    while True:
        current = store.read("Thing", id)
        assert current is not None
        try:
            store.commit([change(id, current.version, int(current.body) + 1)])
            return
        except VersionConflict:
            continue


def add_in_threads(store: SqliteStore, threads: int, times: int) -> None:
    running = [
        threading.Thread(target=lambda: [add_one(store, f"i{n % 2}") for n in range(times)]) for _ in range(threads)
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def stray_rows(path: Path) -> list[object]:
    """What the tables say that the bodies do not say."""
    conn = sqlite3.connect(path)
    try:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        bodies = dict(conn.execute("SELECT rid, body FROM docs").fetchall())
        codes = dict(conn.execute("SELECT p, code FROM params").fetchall())
        found: dict[int, list[tuple[object, ...]]] = {rid: [] for rid in bodies}
        for p, k, x, r in conn.execute("SELECT p, k, x, r FROM ix NOT INDEXED"):
            found.setdefault(r, []).append((codes[p], k, x))
        strays: list[object] = [
            (rid, rows) for rid, rows in found.items() if rid not in bodies or sorted(rows) != expected(bodies[rid])
        ]
        compound = conn.execute("SELECT r, k1, k2, k3 FROM cx").fetchall()
        wanted = [(rid, f"Other/{int(body) % 5}", "free", int(body)) for rid, body in bodies.items()]
        if sorted(compound) != sorted(wanted):
            strays.append("cx")
        return strays
    finally:
        conn.close()


def expected(body: bytes) -> list[tuple[object, ...]]:
    found = entries(int(body))
    return sorted(
        [
            *((code, code_, system) for code in ("tok", "tok1") for system, code_ in found[code]),
            *(("str", normal, exact) for normal, exact in found["str"]),
            *(("ref1", target, "") for (target,) in found["ref1"]),
            *(("day1", low, high) for low, high in found["day1"]),
        ]
    )


def test_processes_and_threads_that_add_to_a_number_lose_nothing(path: Path, store: SqliteStore) -> None:
    store.commit([change("i0", None, 0), change("i1", None, 0)])
    store.close()
    workers = [fork.Process(target=add_in_threads, args=(store, 3, 20)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0]
    numbers = [store.read("Thing", id) for id in ("i0", "i1")]
    assert [(one.version, int(one.body)) for one in numbers if one] == [(61, 60), (61, 60)]
    assert stray_rows(path) == []


def write_until_killed(store: SqliteStore, seed: int, acknowledged: Connection) -> None:
    rng = random.Random(seed)
    while True:
        ids = sorted({f"i{rng.randrange(30)}" for _ in range(rng.randrange(1, 6))})
        known = {id: store.read("Thing", id) for id in ids}
        number = rng.randrange(1000)
        stored = store.commit(
            [change(id, None if (old := known[id]) is None else old.version, number) for id in ids],
            records=[Record("last", str(seed), str(number).encode())],
        )
        acknowledged.send([(one.id, one.version, number) for one in stored])


def test_what_was_acknowledged_survives_the_death_of_its_writer(path: Path, store: SqliteStore) -> None:
    acknowledged: dict[str, tuple[int, int]] = {}
    rng = random.Random(11)
    for seed in range(KILLS):
        ours, theirs = fork.Pipe(duplex=False)
        writer = fork.Process(target=write_until_killed, args=(store, seed, theirs))
        writer.start()
        theirs.close()
        for _ in range(rng.randrange(1, 40)):
            for id, version, number in ours.recv():
                acknowledged[id] = (version, number)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        try:
            while True:
                for id, version, number in ours.recv():
                    acknowledged[id] = (version, number)
        except (EOFError, OSError):
            ours.close()

    for id, (version, number) in acknowledged.items():
        old = store.read("Thing", id, version)
        assert old is not None
        assert int(old.body) == number
    assert stray_rows(path) == []


def test_a_store_used_before_a_fork_works_in_the_child(store: SqliteStore) -> None:
    store.commit([change("i0", None, 0), change("i1", None, 0)])
    child = fork.Process(target=add_in_threads, args=(store, 2, 5))
    child.start()
    child.join()

    assert child.exitcode == 0
    add_one(store, "i0")
    found = store.read("Thing", "i0")
    assert found is not None
    assert int(found.body) == 7


def leave_inherited_connections_alone(store: SqliteStore, inherited: int) -> None:
    sys.exit(id(store.connections.session().conn) == inherited)


def test_a_child_opens_a_connection_of_its_own(store: SqliteStore) -> None:
    conn = store.connections.session().conn
    child = fork.Process(target=leave_inherited_connections_alone, args=(store, id(conn)))
    child.start()
    child.join()

    assert child.exitcode == 0


def test_opening_leaves_no_file_open_that_a_fork_would_share(path: Path, store: SqliteStore) -> None:
    ours = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_exists(fd)]

    assert [name for name in ours if name.startswith(str(path))] == []
    assert store.secret()


def fd_exists(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_a_writer_that_waits_too_long_gives_up(path: Path, make_store: MakeStore) -> None:
    store = make_store(write_timeout_s=0.05)
    with open(f"{path}-lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="write_timeout_s"):
            store.commit([change("i0", None, 0)])
        with pytest.raises(Unavailable):
            store.probe()
        assert store.read("Thing", "i0") is None

    assert store.commit([change("i0", None, 0)])[0].version == 1


def test_a_thread_that_waits_too_long_gives_up(make_store: MakeStore) -> None:
    store = make_store(write_timeout_s=0.05)
    refused: list[Exception] = []

    def commit() -> None:
        try:
            store.commit([change("i1", None, 0)])
        except Unavailable as problem:
            refused.append(problem)

    with store._writer.transaction():
        thread = threading.Thread(target=commit)
        thread.start()
        thread.join()

    assert len(refused) == 1
    assert store.commit([change("i1", None, 0)])[0].version == 1


def test_readers_do_not_wait_for_a_writer(make_store: MakeStore) -> None:
    store, other = make_store(), make_store()
    store.commit([change("i0", None, 5)])

    with other._writer.transaction() as session:
        session.execute("DELETE FROM ix")
        assert [one.id for one in store.find("Thing", Token("tok", None, "5")).entries] == ["i0"]


def test_the_same_store_in_many_threads_answers_right(store: SqliteStore) -> None:
    world = naive.World()
    world.fill(store, random.Random(1), 60)
    wrong: list[str] = []

    def search(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(40):
            where = Token("tok", None, rng.choice(naive.TEXTS))
            if [one.id for one in store.find("Thing", where).entries] != world.matching("Thing", where):
                wrong.append(repr(where))

    threads = [threading.Thread(target=search, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
