"""Key-value records and guards on them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fhirstore.model.stored import Change, Record, RecordGuard
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store


def put(id: str, replaces: int | None = None) -> Change:
    return Change("Thing", id, replaces, "PUT", b"", b'"n":1')


def test_records_are_kept_by_kind_in_order_of_their_keys(store: Store) -> None:
    store.commit([], records=[Record("r", "2", b"two"), Record("r", "1", b"one"), Record("q", "3", b"other")])

    assert store.records("r") == [Record("r", "1", b"one"), Record("r", "2", b"two")]
    assert store.records("r", after="1") == [Record("r", "2", b"two")]
    assert store.records("r", limit=1) == [Record("r", "1", b"one")]


def test_one_record_is_read_by_its_kind_and_key(store: Store) -> None:
    store.commit([], records=[Record("r", "1", b"one"), Record("r", "1 ", b""), Record("q", "1", b"other")])

    assert store.get_record("r", "1") == Record("r", "1", b"one")
    assert store.get_record("r", "1 ") == Record("r", "1 ", b"")
    assert store.get_record("q", "1") == Record("q", "1", b"other")


@pytest.mark.parametrize(("kind", "key"), [("r", ""), ("r", "2"), ("q", "1"), ("", "1"), ("r 1", "1"), ("r", "1 ")])
def test_a_record_that_does_not_exist_is_none(store: Store, kind: str, key: str) -> None:
    store.commit([], records=[Record("r", "1", b"one"), Record("r", "2", b"two")])
    store.commit([], records=[Record("r", "2", None)])

    assert store.get_record(kind, key) is None


def test_a_snapshot_reads_a_record_as_it_was(store: Store, make_store: Callable[..., Store]) -> None:
    store.commit([], records=[Record("r", "1", b"one")])
    with store.snapshot():
        first = store.get_record("r", "1")
        make_store().commit([], records=[Record("r", "1", b"two")])
        assert store.get_record("r", "1") == first == Record("r", "1", b"one")

    assert store.get_record("r", "1") == Record("r", "1", b"two")


def test_a_guard_of_a_record_holds_while_the_record_is_as_it_was_seen(store: Store) -> None:
    store.commit([], [RecordGuard("r", "1", None)], [Record("r", "1", b"one")])
    store.commit([], [RecordGuard("r", "1", b"one")], [Record("r", "1", b"two")])

    assert store.records("r") == [Record("r", "1", b"two")]


@pytest.mark.parametrize("seen", [None, b"other"])
def test_a_commit_is_refused_when_a_record_is_not_as_it_was_seen(store: Store, seen: bytes | None) -> None:
    store.commit([], records=[Record("r", "1", b"one")])

    with pytest.raises(GuardChanged):
        store.commit([put("a")], [RecordGuard("r", "1", seen)], [Record("r", "1", b"two")])

    assert store.records("r") == [Record("r", "1", b"one")]
    assert store.read("Thing", "a") is None


def test_a_record_is_replaced_and_deleted(store: Store) -> None:
    store.commit([], records=[Record("r", "1", b"one"), Record("r", "2", b"two")])
    store.commit([], records=[Record("r", "1", b"new"), Record("r", "2", None), Record("r", "3", None)])

    assert store.records("r") == [Record("r", "1", b"new")]


def test_records_alone_need_no_schema(store: Store, engine: Callable[[Path], str], tmp_path: Path) -> None:
    """A command that only looks after records, beside servers of whatever schema."""
    store.commit([put("a")], records=[Record("r", "1", b"one"), Record("r", "2", b"two")])
    with closing(open_store(engine(tmp_path), Settings())) as other:
        other.commit([], [RecordGuard("r", "1", b"one")], [Record("r", "1", None), Record("r", "3", b"three")])
        with pytest.raises(GuardChanged):
            other.commit([], [RecordGuard("r", "1", b"one")], [Record("r", "1", b"late")])

    assert store.records("r") == [Record("r", "2", b"two"), Record("r", "3", b"three")]
    assert store.commit([put("a", 1)])[0].version == 2
