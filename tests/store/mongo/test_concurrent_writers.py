"""Writers that take_locks, in two processes: one winner each, nothing lost, history without gaps.

MongoDB aborts the later of two that take_locks at once; the stand-in at its commit.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable

import pytest
from support.concurrent_writers import SCHEMA, WRITERS, on_one_id, on_one_version, outcomes, with_guard, with_unique_key

from fhirstore.model.conditions import MATCH_ALL
from fhirstore.model.stored import Change
from fhirstore.store.mongo import MongoStore


@pytest.fixture
def store(make_store: Callable[..., MongoStore]) -> MongoStore:
    return make_store(SCHEMA)


def test_of_twenty_guarded_creates_one_wins(store: MongoStore, url: str) -> None:
    assert outcomes(url, with_guard) == {"won": 1, "GuardChanged": WRITERS - 1}
    assert store.count("Thing", MATCH_ALL) == 1


def test_of_twenty_claims_of_a_unique_key_one_wins(store: MongoStore, url: str) -> None:
    assert outcomes(url, with_unique_key) == {"won": 1, "DuplicateKey": WRITERS - 1}
    assert store.count("Thing", MATCH_ALL) == 1


def test_of_twenty_creates_of_one_id_one_wins(store: MongoStore, url: str) -> None:
    assert outcomes(url, on_one_id) == {"won": 1, "VersionConflict": WRITERS - 1}
    assert store.history_count("Thing", "one") == 1


def test_of_twenty_updates_of_one_version_one_wins(store: MongoStore, url: str) -> None:
    store.commit([Change("Thing", "z", None, "PUT")])

    assert outcomes(url, on_one_version) == {"won": 1, "VersionConflict": WRITERS - 1}
    assert [entry.version for entry in store.history("Thing", "z").entries] == [2, 1]


def test_who_polls_the_history_misses_no_version(store: MongoStore, make_store: Callable[..., MongoStore]) -> None:
    writers = [make_store(SCHEMA) for _ in range(2)]
    store.commit([Change("Thing", "z", None, "PUT")])

    def write(writer: MongoStore, number: int) -> None:
        for n in range(25):
            writer.commit([Change("Thing", f"w{number}-{n}", None, "PUT")])

    threads = [threading.Thread(target=write, args=(writer, n)) for n, writer in enumerate(writers)]
    for thread in threads:
        thread.start()
    seen: dict[str, int] = {}
    since = 0
    running = True
    while running:
        running = any(thread.is_alive() for thread in threads)
        for entry in reversed(store.history("Thing", since=since).entries):
            assert entry.updated >= since
            seen[entry.id], since = entry.updated, entry.updated
    assert len(seen) == 51


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_from_one_that_is_connected_connects_again(store: MongoStore) -> None:
    store.commit([Change("Thing", "a", None, "PUT")])
    context = multiprocessing.get_context("fork")

    child = context.Process(target=lambda: store.commit([Change("Thing", "b", None, "PUT")]))
    child.start()
    child.join(60)

    assert child.exitcode == 0
    assert store.count("Thing", MATCH_ALL) == 2
