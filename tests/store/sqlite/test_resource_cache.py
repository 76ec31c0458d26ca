"""Resources kept in memory: never another answer than without them, whoever writes, and no more than there is room."""

from __future__ import annotations

import random
from collections.abc import Callable

import naive
import pytest

from fhirstore.model.conditions import MATCH_ALL, Sort
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.stored import Change, Stored
from fhirstore.store.sqlite import SqliteStore, resource_cache

MakeStore = Callable[..., SqliteStore]
ROOM = 1024 * 1024


def put(store: SqliteStore, id: str, body: bytes, *refs: str, replaces: int | None = None) -> Stored:
    index: dict[str, list[IndexEntry]] = {"ref": [(ref,) for ref in refs], "tok1": [("", "x")]}
    return store.commit([Change("Thing", id, replaces, "PUT", b"", body, index)])[0]


def bodies(store: SqliteStore) -> list[tuple[str, int, bytes]]:
    return [(s.id, s.version, s.body) for s in store.find("Thing", MATCH_ALL).entries]


def targets(store: SqliteStore) -> list[str]:
    return sorted(store.references(store.find("Thing", MATCH_ALL).entries, "ref"))


@pytest.fixture
def reader(make_store: MakeStore) -> SqliteStore:
    return make_store(cache_bytes=ROOM)


@pytest.fixture
def writer(make_store: MakeStore, reader: SqliteStore) -> SqliteStore:
    """Another process, as far as the reader can tell."""
    return make_store()


def test_an_update_of_another_process_is_seen_at_once(reader: SqliteStore, writer: SqliteStore) -> None:
    put(writer, "a", b"1", "Other/1")
    assert bodies(reader) == bodies(reader) == [("a", 1, b"1")]
    assert targets(reader) == targets(reader) == ["Other/1"]
    put(writer, "a", b"2", "Other/2", "Other/3", replaces=1)
    assert bodies(reader) == [("a", 2, b"2")]
    assert [s.body for s in reader.read_many(["Thing/a"])] == [b"2"]
    assert targets(reader) == ["Other/2", "Other/3"]


def test_a_resource_that_was_deleted_and_made_again_is_the_new_one(reader: SqliteStore, writer: SqliteStore) -> None:
    put(writer, "a", b"1", "Other/1")
    assert bodies(reader) == [("a", 1, b"1")]
    writer.commit([Change("Thing", "a", 1, "DELETE", deleted=True)])
    assert bodies(reader) == []
    assert reader.read_many(["Thing/a"]) == []
    put(writer, "b", b"2")
    put(writer, "a", b"3", replaces=2)
    assert [s.body for s in reader.read_many(["Thing/a"])] == [b"3"]
    assert bodies(reader) == [("a", 3, b"3"), ("b", 1, b"2")]
    assert targets(reader) == []


def test_what_was_asked_for_by_reference_is_found_by_row_id(
    reader: SqliteStore, writer: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(writer, "a", b"1")
    put(writer, "b", b"2")
    assert len(reader.read_many(["Thing/a", "Thing/b"])) == 2
    monkeypatch.setattr(resource_cache, "_rows_of", lambda *_: pytest.fail("looked up by id"))
    assert sorted(s.id for s in reader.read_many(["Thing/b", "Thing/a"])) == ["a", "b"]


def test_what_is_kept_is_not_fetched_again(reader: SqliteStore, writer: SqliteStore) -> None:
    put(writer, "a", b"1")
    [first] = reader.find("Thing", MATCH_ALL).entries
    assert reader.find("Thing", MATCH_ALL, [Sort("tok1")]).entries[0] is first
    assert reader.read_many(["Thing/a"])[0] is first


def test_nothing_is_kept_without_room(make_store: MakeStore, writer: SqliteStore) -> None:
    store = make_store(cache_bytes=0)
    put(writer, "a", b"1", "Other/1")
    [first] = store.find("Thing", MATCH_ALL).entries
    [second] = store.find("Thing", MATCH_ALL).entries
    assert first == second
    assert first is not second
    assert targets(store) == ["Other/1"]


def kept(store: SqliteStore) -> int:
    """Bytes of bodies that are kept."""
    known = store._resource_cache._young | store._resource_cache._old
    return sum(resource_cache._size(s) for s in known.values())


def test_what_was_asked_for_last_is_kept_within_the_room(make_store: MakeStore, writer: SqliteStore) -> None:
    store = make_store(cache_bytes=20_000)
    for number in range(60):
        put(writer, f"i{number:02}", b"b" * 600)
    for number in range(60):
        [one] = store.read_many([f"Thing/i{number:02}"])
        assert one.body == b"b" * 600
        assert kept(store) <= 20_000
    [again] = store.read_many(["Thing/i59"])
    assert again is one
    assert len(bodies(store)) == 60
    assert kept(store) <= 20_000


def test_a_resource_that_would_take_the_room_of_many_is_not_kept(reader: SqliteStore, writer: SqliteStore) -> None:
    put(writer, "a", b"1" * (resource_cache._GREATEST + 1))
    assert bodies(reader) == bodies(reader) == [("a", 1, b"1" * (resource_cache._GREATEST + 1))]
    assert kept(reader) == 0


def test_targets_do_not_hold_a_resource_that_is_not_kept(make_store: MakeStore, writer: SqliteStore) -> None:
    for store in (make_store(cache_bytes=ROOM), make_store(cache_bytes=0)):
        id = f"big{len(bodies(store))}"
        put(writer, id, b"1" * (resource_cache._GREATEST + 1), "Other/1")
        for _ in range(2):
            assert store.references(store.read_many([f"Thing/{id}"]), "ref") == ["Other/1"]
        assert kept(store) == 0


def test_targets_are_read_again_after_a_reindex(reader: SqliteStore) -> None:
    put(reader, "a", b"1", "Other/1")
    assert targets(reader) == ["Other/1"]
    reader.open(naive.schema("2"))
    reader.reindex(lambda stored: {"ref": [("Other/2",)]})
    assert targets(reader) == ["Other/2"]


@pytest.mark.parametrize("room", [3_000, ROOM])
def test_random_worlds_are_answered_as_without_memory(make_store: MakeStore, room: int) -> None:
    """Two processes, one with little or much memory, see the same after each of many writes."""
    reader, writer = make_store(cache_bytes=room), make_store()
    rng = random.Random(11)
    for _ in range(150):
        id = f"i{rng.randrange(12)}"
        current = writer.read("Thing", id)
        replaces = None if current is None else current.version
        if current is not None and not current.deleted and rng.random() < 0.3:
            writer.commit([Change("Thing", id, replaces, "DELETE", deleted=True)])
        else:
            refs = [f"Other/{n}" for n in range(rng.randrange(3))]
            put(writer, id, str(rng.random()).encode() * rng.randrange(1, 20), *refs, replaces=replaces)
        assert bodies(reader) == bodies(writer)
        assert targets(reader) == targets(writer)
        refs = [f"Thing/i{n}" for n in rng.sample(range(14), 6)]
        assert sorted(reader.read_many(refs)) == sorted(writer.read_many(refs))
