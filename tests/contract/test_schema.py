"""Opening with another schema, reindexing, the secret, several stores on one database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import naive
import pytest

from fhirstore.errors import StartupError
from fhirstore.model.conditions import (
    And,
    Date,
    Reference,
    Token,
)
from fhirstore.model.indexing import (
    CompoundIndex,
    IndexedParameter,
    IndexEntry,
    Schema,
)
from fhirstore.model.stored import Change, Guard, Stored
from fhirstore.store.errors import GuardChanged, StoreError
from fhirstore.store.protocol import Store

MakeStore = Callable[..., Store]
TOK = IndexedParameter("tok", "token", False, "1")
STR = IndexedParameter("str", "string", False, "1")


def schema(*params: IndexedParameter, compounds: tuple[CompoundIndex, ...] = ()) -> Schema:
    return Schema({"Thing": {param.code: param for param in params}, "Other": {"tok": TOK}}, compounds)


def extract(stored: Stored) -> Mapping[str, Sequence[IndexEntry]]:
    """Entries from a body that is one word: the word as a token and as a text."""
    word = stored.body.decode()
    return {"tok": [("", word)], "str": [(word.lower(), word)]} if stored.type == "Thing" else {"tok": [("", word)]}


def put(id: str, word: str, replaces: int | None = None, *codes: str) -> Change:
    stored = Stored("Thing", id, 1, 0, False, "PUT", b"", word.encode())
    return Change("Thing", id, replaces, "PUT", b"", word.encode(), {c: extract(stored)[c] for c in codes or ["tok"]})


def found(store: Store, word: str) -> list[str]:
    return [entry.id for entry in store.find("Thing", Token("tok", None, word)).entries]


def test_a_new_store_has_nothing_pending(store: Store) -> None:
    assert store.pending_parameters() == frozenset()


def test_opened_again_everything_is_there(make_store: MakeStore) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT", b"", b'"n":1', {"tok": [("s", "x")]}, unique=("k",))])

    again = make_store()

    assert [entry.id for entry in again.find("Thing", Token("tok", "s", "x")).entries] == ["a"]
    assert again.pending_parameters() == frozenset()


def test_the_secret_is_made_once(make_store: MakeStore) -> None:
    secrets = {make_store().secret(), make_store().secret()}

    assert len(secrets) == 1
    assert len(secrets.pop()) == 32


def test_a_new_parameter_is_pending_where_resources_exist(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put("a", "X")])

    store = make_store(Schema({"Thing": {"tok": TOK, "str": STR}, "Other": {"tok": TOK, "str": STR}}))

    assert store.pending_parameters() == {("Thing", "str")}


def test_a_parameter_that_changed_is_pending(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put("a", "X")])

    assert make_store(schema(IndexedParameter("tok", "token", False, "2"))).pending_parameters() == {("Thing", "tok")}
    assert make_store(schema(IndexedParameter("tok", "token", False, "2"))).pending_parameters() == {("Thing", "tok")}


def test_a_parameter_that_was_not_declared_meanwhile_is_pending_if_something_was_written(make_store: MakeStore) -> None:
    make_store(schema(TOK, STR)).commit([put("a", "X", None, "tok", "str")])
    make_store(schema(TOK))
    assert make_store(schema(TOK, STR)).pending_parameters() == frozenset()

    make_store(schema(TOK)).commit([put("b", "Y")])

    assert make_store(schema(TOK, STR)).pending_parameters() == {("Thing", "str")}


def test_reindex_completes_what_is_pending(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put(f"i{n}", f"W{n}") for n in range(450)])
    store = make_store(schema(TOK, STR))
    told: list[tuple[int, int]] = []

    assert store.reindex(extract, lambda done, total: told.append((done, total))) == 450

    assert store.pending_parameters() == frozenset()
    assert told[-1] == (450, 450)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert [e.id for e in store.find("Thing", naive.String("str", "prefix", "w449")).entries] == ["i449"]
    assert store.reindex(extract) == 0


def test_reindex_removes_entries_that_no_longer_hold(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([Change("Thing", "a", None, "PUT", b"", b"X", {"tok": [("", "old")]})])
    store = make_store(schema(IndexedParameter("tok", "token", False, "2")))

    store.reindex(lambda stored: {"tok": [("", "X")]})

    assert (found(store, "old"), found(store, "X")) == ([], ["a"])


def test_reindex_goes_on_where_it_was_interrupted(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put(f"i{n:04}", f"W{n}") for n in range(1000)])
    store = make_store(schema(TOK, STR))

    def stop(done: int, total: int) -> None:
        if done >= 400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.reindex(extract, stop)

    assert store.pending_parameters() == {("Thing", "str")}
    again = make_store(schema(TOK, STR))
    assert 0 < again.reindex(extract) <= 600
    assert all(
        again.count("Thing", naive.String("str", "exact", f"W{n}")) == 1 for n in (0, 199, 200, 399, 400, 401, 999)
    )


def test_another_pending_parameter_starts_reindexing_over(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put(f"i{n:04}", f"W{n}") for n in range(600)])
    store = make_store(schema(TOK, STR))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.reindex(extract, stop)

    store = make_store(schema(IndexedParameter("tok", "token", False, "2"), STR))

    assert store.reindex(extract) == 600


def test_what_is_written_during_reindexing_is_neither_lost_nor_overwritten(make_store: MakeStore) -> None:
    make_store(schema(TOK)).commit([put(f"i{n:04}", "old") for n in range(600)])
    store = make_store(schema(TOK, STR))
    writer = make_store(schema(TOK, STR))
    done: set[str] = set()

    def slow(stored: Stored) -> Mapping[str, Sequence[IndexEntry]]:
        """While a resource is being looked at, it and others change."""
        if stored.id not in done and stored.id.endswith("7"):
            done.add(stored.id)
            writer.commit([put(stored.id, "new", 1, "tok", "str")])
            if stored.id < "i0500":
                gone = f"i{int(stored.id[1:]) + 1:04}"
                writer.commit([Change("Thing", gone, 1, "DELETE", deleted=True)])
            writer.commit([put(f"{stored.id}x", "new", None, "tok", "str")])
        return extract(stored)

    store.reindex(slow)

    bodies = {stored.id: stored.body.decode() for stored in store.scan("Thing")}
    for word in ("old", "new"):
        expected = sorted(id for id, body in bodies.items() if body == word)
        assert found(store, word) == expected
        assert [e.id for e in store.find("Thing", naive.String("str", "exact", word)).entries] == expected
    assert len(done) == 60
    assert len(bodies) == 600 - 50 + 60


def test_a_process_with_an_older_schema_writes_no_more(make_store: MakeStore) -> None:
    old = make_store(schema(TOK))
    old.commit([put("a", "X")])
    make_store(schema(TOK, STR))

    with pytest.raises(StoreError):
        old.commit([put("b", "Y")])

    assert old.read("Thing", "a") is not None
    assert old.read("Thing", "b") is None


# --- compound indexes ---

SLOTS = CompoundIndex("Thing", ("ref1", "tok1", "day1"))
SEARCH = And((Reference("ref1", ("Other/1",)), Token("tok1", None, "free"), Date("day1", low_ge=10, low_lt=20)))


def slot(id: str, replaces: int | None = None, status: str = "free", day: int = 15) -> Change:
    index: dict[str, Any] = {"ref1": [("Other/1",)], "tok1": [("", status)], "day1": [(day, day + 1)]}
    return Change("Thing", id, replaces, "PUT", b"", b"", index)


def slots(store: Store) -> list[str]:
    return [entry.id for entry in store.find("Thing", SEARCH).entries]


def test_a_compound_index_follows_every_change(make_store: MakeStore) -> None:
    store = make_store(naive.schema(compounds=[SLOTS]))
    store.commit([slot(id) for id in "abcd"])
    store.commit([slot("a", 1, status="busy"), slot("b", 1, day=25), Change("Thing", "c", 1, "DELETE", deleted=True)])
    assert slots(store) == ["d"]

    store.commit([slot("a", 2), slot("b", 2), slot("c", 2)])

    assert slots(store) == ["a", "b", "c", "d"]


def test_a_compound_index_declared_later_finds_what_was_there(make_store: MakeStore) -> None:
    make_store(naive.schema(compounds=[])).commit([slot("a"), slot("b", day=30), Change("Thing", "c", None, "PUT")])

    assert slots(make_store(naive.schema(compounds=[SLOTS]))) == ["a"]


def test_a_compound_index_that_was_given_up_for_a_while_is_right_again(make_store: MakeStore) -> None:
    make_store(naive.schema(compounds=[SLOTS])).commit([slot("a"), slot("b"), slot("c")])
    store = make_store(naive.schema(compounds=[]))
    store.commit([slot("a", 1, day=30), Change("Thing", "b", 1, "DELETE", deleted=True), slot("d")])

    assert slots(make_store(naive.schema(compounds=[SLOTS]))) == ["c", "d"]


def test_a_compound_index_distinguishes_an_empty_code_from_none(make_store: MakeStore) -> None:
    store = make_store(naive.schema(compounds=[SLOTS]))
    store.commit([slot("a", status=""), Change("Thing", "b", None, "PUT", b"", b"", {"ref1": [("Other/1",)]})])
    other = Reference("ref1", ("Other/1",))

    assert [e.id for e in store.find("Thing", And((other, Token("tok1", None, "")))).entries] == ["a"]
    assert [e.id for e in store.find("Thing", And((other, Token("tok1", None, "free")))).entries] == []
    assert [e.id for e in store.find("Thing", other).entries] == ["a", "b"]


def test_a_compound_index_finds_no_date_where_there_is_none(make_store: MakeStore) -> None:
    store = make_store(naive.schema(compounds=[SLOTS]))
    index: dict[str, Any] = {"ref1": [("Other/1",)], "tok1": [("", "free")]}
    store.commit([slot("a"), Change("Thing", "b", None, "PUT", b"", b"", index)])
    parts = Reference("ref1", ("Other/1",)), Token("tok1", None, "free")

    assert [e.id for e in store.find("Thing", And((*parts, Date("day1", low_ge=0)))).entries] == ["a"]
    assert [e.id for e in store.find("Thing", And((*parts, Date("day1", low_lt=99)))).entries] == ["a"]
    assert [e.id for e in store.find("Thing", And(parts)).entries] == ["a", "b"]


@pytest.mark.parametrize(
    ("compound", "named"),
    [
        (CompoundIndex("Thing", ("tok1",)), "2 to 4"),
        (CompoundIndex("Thing", ("tok1", "tok")), "tok"),
        (CompoundIndex("Thing", ("tok1", "nope")), "nope"),
        (CompoundIndex("Nope", ("tok1", "day1")), "Nope"),
    ],
)
def test_a_compound_index_that_cannot_be_is_refused_at_start(
    make_store: MakeStore, compound: CompoundIndex, named: str
) -> None:
    with pytest.raises(StartupError, match=named):
        make_store(naive.schema(compounds=[compound]))


# --- several at once ---


@contextmanager
def running(*targets: Callable[[], None]) -> Iterator[None]:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def test_of_many_conditional_creates_at_once_one_is_stored(make_store: MakeStore) -> None:
    stores = [make_store(schema(TOK)), make_store(schema(TOK))]
    won: list[str] = []
    lost: list[str] = []

    def create(n: int) -> None:
        guard = Guard("Thing", Token("tok", None, "same"), frozenset())
        try:
            stores[n % 2].commit([put(f"i{n}", "same")], guards=[guard])
            won.append(f"i{n}")
        except GuardChanged:
            lost.append(f"i{n}")

    with running(*(lambda n=n: create(n) for n in range(20))):  # type: ignore[misc]
        pass

    assert (len(won), len(lost)) == (1, 19)
    assert found(stores[0], "same") == won
