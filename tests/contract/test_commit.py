"""What a commit stores, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from fhirstore.model.conditions import (
    MATCH_ALL,
    Reference,
    ReverseChain,
    Token,
)
from fhirstore.model.stored import (
    Change,
    Guard,
    Record,
    Stored,
)
from fhirstore.store.errors import DuplicateKey, GuardChanged, VersionConflict
from fhirstore.store.protocol import Store


def put(id: str, replaces: int | None = None, **more: Any) -> Change:
    return Change("Thing", id, replaces, "PUT", b'"profile":["p"]', f'"of":"{id}"'.encode(), **more)


def delete(id: str, replaces: int | None) -> Change:
    return Change("Thing", id, replaces, "DELETE", deleted=True)


def token(code: str) -> dict[str, list[tuple[str, str]]]:
    return {"tok": [("s", code)]}


def found(store: Store, code: str) -> list[str]:
    return [entry.id for entry in store.find("Thing", Token("tok", "s", code)).entries]


def test_what_is_committed_is_read_back_with_the_bytes_as_sent(store: Store) -> None:
    [stored] = store.commit([put("a")])

    assert stored._replace(key=None) == Stored(
        "Thing", "a", 1, stored.updated, False, "PUT", b'"profile":["p"]', b'"of":"a"'
    )
    assert store.read("Thing", "a") == stored
    assert stored.updated % 1000 == 0


def test_what_never_existed_reads_as_none(store: Store) -> None:
    store.commit([put("a")])

    assert store.read("Thing", "b") is None
    assert store.read("Other", "a") is None
    assert store.read("Thing", "a", 2) is None
    assert store.read("Thing", "a", 2**80) is None


def test_every_version_stays_readable(store: Store) -> None:
    first = store.commit([put("a")])[0]
    second = store.commit([Change("Thing", "a", 1, "PATCH", b"", b'"n":2')])[0]
    third = store.commit([delete("a", 2)])[0]

    assert [store.read("Thing", "a", n) for n in (1, 2, 3)] == [
        first._replace(key=None),
        second._replace(key=None),
        third,
    ]
    assert (third.version, third.deleted, third.method, third.meta, third.body) == (3, True, "DELETE", b"", b"")


def test_a_deleted_resource_reads_as_deleted_and_is_found_no_more(store: Store) -> None:
    store.commit([put("a", index=token("x"))])
    [gone] = store.commit([delete("a", 1)])

    assert store.read("Thing", "a") == gone
    assert found(store, "x") == []
    assert store.count("Thing", MATCH_ALL) == 0
    assert store.read_many(["Thing/a"]) == []


def test_a_deleted_id_made_again_goes_on_counting_versions(store: Store) -> None:
    store.commit([put("a", index=token("x"))])
    store.commit([delete("a", 1)])
    [again] = store.commit([put("a", 2, index=token("y"))])

    assert (again.version, again.deleted) == (3, False)
    assert (found(store, "x"), found(store, "y")) == ([], ["a"])


def test_something_that_never_existed_can_be_deleted(store: Store) -> None:
    [gone] = store.commit([delete("a", None)])

    assert store.read("Thing", "a") == gone
    assert gone.version == 1


def test_an_update_replaces_the_index_entries(store: Store) -> None:
    store.commit([put("a", index=token("x"))])
    store.commit([put("a", 1, index=token("y"))])

    assert (found(store, "x"), found(store, "y")) == ([], ["a"])


def test_the_same_entry_twice_counts_once(store: Store) -> None:
    store.commit([put("a", index={"tok": [("s", "x"), ("s", "x")]})])

    assert found(store, "x") == ["a"]
    assert store.count("Thing", Token("tok", None, "x")) == 1


@pytest.mark.parametrize("replaces", [None, 1, 3])
def test_another_version_than_the_current_one_is_a_conflict(store: Store, replaces: int | None) -> None:
    store.commit([put("a")])
    store.commit([put("a", 1)])

    with pytest.raises(VersionConflict) as conflict:
        store.commit([put("a", replaces)])

    assert (conflict.value.expected, conflict.value.actual) == (replaces, 2)


def test_a_conflict_names_what_is_missing(store: Store) -> None:
    with pytest.raises(VersionConflict) as conflict:
        store.commit([put("a", 1)])

    assert (conflict.value.type, conflict.value.id, conflict.value.actual) == ("Thing", "a", None)


def test_all_is_stored_or_nothing(store: Store) -> None:
    store.commit([put("z")])

    with pytest.raises(VersionConflict):
        store.commit([put("a", index=token("x"), unique=("k",)), put("z")], records=[Record("r", "1", b"v")])

    assert store.read("Thing", "a") is None
    assert found(store, "x") == []
    assert store.records("r") == []
    assert store.history_count() == 1
    store.commit([put("b", unique=("k",))])


def test_one_commit_stores_its_versions_in_order_at_one_instant(store: Store) -> None:
    stored = store.commit([put("b"), put("a"), delete("c", None)])

    assert [one.id for one in stored] == ["b", "a", "c"]
    assert len({one.updated for one in stored}) == 1


def test_time_never_goes_back(store: Store) -> None:
    times = [store.commit([put(f"i{n}")])[0].updated for n in range(50)]

    assert times == sorted(times)


def test_a_resource_may_occur_once_in_a_commit(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        store.commit([put("a"), put("a", 1)])

    assert store.read("Thing", "a") is None


def test_entries_the_schema_does_not_know_are_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="nope"):
        store.commit([put("a", index={"nope": [("s", "x")]})])

    assert store.read("Thing", "a") is None


# --- unique keys ---


def test_a_unique_key_belongs_to_one_live_resource(store: Store) -> None:
    store.commit([put("a", unique=("k",))])

    with pytest.raises(DuplicateKey) as refused:
        store.commit([put("b", unique=("j", "k"))])

    assert (refused.value.key, refused.value.id, refused.value.owner) == ("k", "b", "Thing/a")
    assert store.read("Thing", "b") is None


def test_its_holder_keeps_a_unique_key(store: Store) -> None:
    store.commit([put("a", unique=("k",))])
    store.commit([put("a", 1, unique=("k", "k"))])

    with pytest.raises(DuplicateKey):
        store.commit([put("b", unique=("k",))])


@pytest.mark.parametrize("change", [put("a", 1), delete("a", 1)], ids=["update", "delete"])
def test_a_key_that_is_given_up_can_be_taken(store: Store, change: Change) -> None:
    store.commit([put("a", unique=("k",))])
    store.commit([change])

    assert store.commit([put("b", unique=("k",))])[0].id == "b"


def test_a_key_can_change_hands_within_one_commit(store: Store) -> None:
    store.commit([put("a", unique=("k",))])

    store.commit([put("b", unique=("k",)), delete("a", 1)])

    assert store.read("Thing", "b") is not None


def test_two_resources_of_one_commit_cannot_share_a_key(store: Store) -> None:
    with pytest.raises(DuplicateKey) as refused:
        store.commit([put("a", unique=("k",)), put("b", unique=("k",))])

    assert (refused.value.id, refused.value.owner) == ("b", "Thing/a")


def test_who_holds_a_key_can_be_asked(store: Store) -> None:
    store.commit([put("a", unique=("k",)), put("b", unique=("l",))])
    store.commit([delete("b", 1)])
    assert [store.unique_key_owner(key) for key in ("k", "l", "never")] == ["Thing/a", None, None]


# --- guards ---


def guard(code: str, *ids: str) -> Guard:
    return Guard("Thing", Token("tok", "s", code), frozenset(ids))


def test_a_commit_goes_through_when_its_guards_see_what_the_interaction_saw(store: Store) -> None:
    store.commit([put("a", index=token("x"))], guards=[guard("x")])
    store.commit([put("b", index=token("y"))], guards=[guard("x", "a"), guard("y")])

    assert found(store, "y") == ["b"]


@pytest.mark.parametrize("ids", [(), ("a",), ("a", "c"), ("a", "b", "c"), ("c",)])
def test_a_guard_that_sees_other_resources_stops_the_commit(store: Store, ids: tuple[str, ...]) -> None:
    store.commit([put("a", index=token("x")), put("b", index=token("x"))])

    with pytest.raises(GuardChanged) as stopped:
        store.commit([put("n")], guards=[guard("x", *ids)])

    assert stopped.value.guard.ids == frozenset(ids)
    assert store.read("Thing", "n") is None


def test_a_guard_looks_before_the_changes_of_its_commit(store: Store) -> None:
    store.commit([put("a", index=token("x"))])

    store.commit([delete("a", 1), put("b", index=token("x"))], guards=[guard("x", "a")])

    assert found(store, "x") == ["b"]


def test_a_guard_may_watch_another_type_through_a_join(store: Store) -> None:
    target = Guard("Other", ReverseChain("Thing", "ref", Token("tok", None, "x")), frozenset())
    store.commit([Change("Other", "o", None, "PUT")], guards=[target])
    store.commit([put("a", index={**token("x"), "ref": [("Other/o",)]})], guards=[target])

    with pytest.raises(GuardChanged):
        store.commit([put("n")], guards=[target])


# --- many at once ---


def test_read_many_gives_each_live_resource_once(store: Store) -> None:
    store.commit([put("a"), put("b"), Change("Other", "a", None, "PUT"), delete("c", None)])

    refs = ["Thing/a", "Other/a", "Thing/a", "Thing/c", "Thing/nope", "Thing", "", "urn:uuid:a", "Thing/a/_history/1"]

    assert sorted(one.ref for one in store.read_many(refs)) == ["Other/a", "Thing/a"]


@pytest.mark.parametrize("ref", ["Thing/a\0b", "Thing/a\0"])
def test_read_many_takes_references_literally(store: Store, ref: str) -> None:
    store.commit([put("a")])

    assert store.read_many([ref, "Thing/b"]) == []


def test_read_many_takes_thousands(store: Store) -> None:
    store.commit([put(f"i{n}") for n in range(40)])

    assert len(store.read_many(f"Thing/i{n}" for n in range(40_000))) == 40


def test_references_are_the_distinct_targets_of_the_sources(store: Store) -> None:
    sources = store.commit(
        [
            put("a", index={"ref": [("Other/1",), ("Other/2",)], "ref1": [("Other/9",)]}),
            put("b", index={"ref": [("Other/2",), ("urn:x",)]}),
            put("c"),
        ]
    )

    assert sorted(store.references(sources, "ref")) == ["Other/1", "Other/2", "urn:x"]
    assert store.references(sources[2:], "ref") == []
    assert store.references([], "ref") == []


def test_references_of_resources_that_a_search_found(store: Store) -> None:
    store.commit([put("a", index={"ref": [("Other/1",)]})])

    page = store.find("Thing", Reference("ref", ("Other/1",)))

    assert store.references(page.entries, "ref") == ["Other/1"]


def test_a_source_that_is_gone_has_no_references_not_those_of_another(store: Store) -> None:
    sources = store.commit([put("a", index={"ref": [("Other/1",)]})])
    store.commit([delete("a", 1)])
    store.commit([put("b", index={"ref": [("Other/2",)]})])

    assert store.references(sources, "ref") == []


def test_scan_gives_all_live_resources_type_by_type(store: Store) -> None:
    store.commit([put(f"i{n}") for n in range(1100)] + [Change("Other", "o", None, "PUT"), delete("gone", None)])

    refs = [stored.ref for stored in store.scan()]

    assert sorted(refs) == sorted([f"Thing/i{n}" for n in range(1100)] + ["Other/o"])
    assert refs[0] == "Other/o"
    assert [stored.ref for stored in store.scan("Other")] == ["Other/o"]
    assert list(store.scan("Thin")) == []


def test_nothing_to_do_is_done(store: Store) -> None:
    assert store.commit([]) == []
    store.probe()


def test_a_probe_returns_the_time_of_the_newest_version(store: Store) -> None:
    [first] = store.commit([put("a")])
    [second] = store.commit([put("b")])
    assert first.updated <= second.updated <= store.probe() < second.updated + 60_000_000
