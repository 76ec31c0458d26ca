"""A store gives all it holds to another one, which is the same afterwards."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import naive
import pytest
from support.mongo import Mongo

from fhirstore.model.conditions import MATCH_ALL, Token
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Change, Record, Stored
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import DuplicateKey, VersionConflict, VersionOutOfOrder
from fhirstore.store.protocol import Store
from fhirstore.store.transfer import TransferredVersion

MakeOther = Callable[..., Store]


@pytest.fixture
def make_other(engine: Callable[[Path], str], mongo_server: Mongo | None, tmp_path: Path) -> Iterator[MakeOther]:
    """make_other(name): a store on another database of the engine that has this name, not opened."""
    made: list[Store] = []
    folders: list[Path] = []

    def make(name: str = "other") -> Store:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        folders.append(folder)
        made.append(open_store(engine(folder), Settings(write_timeout_s=5.0)))
        return made[-1]

    yield make
    for store in made:
        store.close()
    for folder in folders if mongo_server is not None else ():
        mongo_server.drop(folder)


@pytest.fixture
def source(store: Any) -> Store:
    found: Store = store
    return found


@pytest.fixture
def target(make_other: MakeOther) -> Store:
    other = make_other()
    other.open(naive.schema())
    return other


Indexes = dict[tuple[str, str, int], IndexEntries]


def indexed(version: TransferredVersion, indexes: Indexes) -> TransferredVersion:
    one = version.stored
    return TransferredVersion(one, version.at, version.unique, indexes.get((one.type, one.id, one.version)))


def copy(source: Store, target: Store, size: int, indexes: Indexes, after: Any = None) -> Any:
    """All versions behind `after` in batches of `size`; where the last one stands."""
    versions = source.versions(after)
    while batch := list(itertools.islice(versions, size)):
        target.restore([indexed(version, indexes) for version in batch])
        after = batch[-1].at
    return after


def put(id: str, replaces: int | None = None, *unique: str, type: str = "Thing") -> Change:
    return Change(type, id, replaces, "PUT", b'"profile":["p"]', f'"of":"{id}"'.encode(), unique=unique)


def delete(id: str, replaces: int | None) -> Change:
    return Change("Thing", id, replaces, "DELETE", deleted=True)


def plain(rows: Sequence[Stored]) -> list[Stored]:
    return [row._replace(key=None) for row in rows]


def facts(store: Store) -> list[tuple[Stored, bool, list[str]]]:
    """What the versions of a store say, but for what is the engine's own."""
    return [(v.stored._replace(key=None), v.stored.key is None, sorted(v.unique)) for v in store.versions()]


LIFE: list[list[Change]] = [
    [put("a", None, "k", "j"), put("b"), put("a", type="Other")],
    [put("a", 1, "k")],
    [delete("b", 1), put("c", None, "j")],
    [put("b", 2), delete("never", None)],
    [delete("c", 1)],
]


def lived(store: Store) -> list[Stored]:
    return [one for changes in LIFE for one in store.commit(changes)]


def test_versions_are_all_versions_oldest_first_and_current_ones_have_keys(source: Store) -> None:
    made = lived(source)

    found = list(source.versions())

    assert plain([version.stored for version in found]) == plain(made)
    current = {version.stored.ref: version.unique for version in found if version.stored.key is not None}
    assert current == {"Thing/a": ("k",), "Other/a": (), "Thing/b": ()}
    assert all(version.unique == () for version in found if version.stored.key is None)


def test_versions_go_on_behind_any_of_them(source: Store) -> None:
    lived(source)
    found = list(source.versions())

    for n, version in enumerate(found):
        assert list(source.versions(version.at)) == found[n + 1 :]


def test_versions_come_in_more_than_one_batch(source: Store, share: int) -> None:
    size = 50 * (50 // share)
    for start in range(0, size, 50):
        source.commit([put(f"i{n}") for n in range(start, start + 50)])

    assert [version.stored.id for version in source.versions()] == [f"i{n}" for n in range(size)]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_copy_holds_the_same_versions_with_their_numbers_and_dates(source: Store, target: Store, size: int) -> None:
    lived(source)

    copy(source, target, size, {})

    assert facts(target) == facts(source)
    assert plain(target.history().entries) == plain(source.history().entries)
    assert plain(target.history("Thing").entries) == plain(source.history("Thing").entries)
    assert plain(target.history("Thing", "b").entries) == plain(source.history("Thing", "b").entries)
    assert target.history_count() == source.history_count() == 9
    for type, id in (("Thing", "a"), ("Thing", "c"), ("Thing", "never"), ("Other", "a")):
        one, other = source.read(type, id), target.read(type, id)
        assert one is not None
        assert other is not None
        assert one._replace(key=None) == other._replace(key=None)
    assert sorted(one.ref for one in target.scan()) == ["Other/a", "Thing/a", "Thing/b"]


@pytest.mark.parametrize("size", [1, 100])
def test_a_copy_goes_on_as_the_store_would(source: Store, target: Store, size: int) -> None:
    last = lived(source)[-1]
    copy(source, target, size, {})

    with pytest.raises(VersionConflict):
        target.commit([put("b", 2)])
    with pytest.raises(DuplicateKey) as refused:
        target.commit([put("n", None, "k")])
    assert refused.value.owner == "Thing/a"
    [again] = target.commit([put("c", 2, "j")])

    assert again.version == 3
    assert again.updated >= last.updated


@pytest.mark.parametrize("size", [1, 7, 200])
def test_searches_on_a_copy_find_the_same(source: Store, target: Store, size: int, share: int) -> None:
    world, indexes = naive.World(), {}
    world.fill(source, random.Random(size), 300 // share)
    for (type, id), index in world.index.items():
        current = source.read(type, id)
        assert current is not None
        indexes[type, id, current.version] = index

    copy(source, target, size, indexes)

    for type in naive.TYPES:
        for sort in ([], [naive.Sort("day1", True)], [naive.Sort("str"), naive.Sort("_lastUpdated")]):
            naive.compare(target, world, type, MATCH_ALL, sort, 4)
        for code in naive.TEXTS:
            naive.compare(target, world, type, Token("tok1", None, code), [], 4)


def test_a_page_goes_on_in_a_copy(source: Store, target: Store) -> None:
    source.commit([put(f"i{n}") for n in range(9)])
    copy(source, target, 4, {})

    first = source.find("Thing", MATCH_ALL, [naive.Sort("_lastUpdated", True)], limit=4)
    rest = target.find("Thing", MATCH_ALL, [naive.Sort("_lastUpdated", True)], first.next)

    assert [one.id for one in first.entries + rest.entries] == [f"i{n}" for n in range(9)]


@pytest.mark.parametrize("what", [{}, {"type": "Thing"}, {"type": "Thing", "id": "b"}])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_page_of_a_history_goes_on_in_a_copy_on_any_engine(
    source: Store, target: Store, tmp_path: Path, what: dict[str, str], size: int
) -> None:
    other = open_store(f"sqlite:///{tmp_path}/elsewhere.db", Settings())
    other.open(naive.schema())
    lived(source)
    copy(source, target, 4, {})
    copy(source, other, 4, {})
    found: list[Stored] = []
    after = None

    for store in itertools.cycle([source, other, target]):
        page = store.history(**what, after=after, limit=size)  # type: ignore[arg-type]
        found += page.entries
        if (after := page.next) is None:
            break

    assert plain(found) == plain(source.history(**what).entries)  # type: ignore[arg-type]
    other.close()


def test_the_secret_of_page_tokens_is_taken_over(source: Store, target: Store) -> None:
    target.set_secret(source.secret())
    assert target.secret() == source.secret()


def test_a_copy_takes_over_what_the_source_has_got_since(source: Store, target: Store) -> None:
    at = None
    for changes in LIFE:
        source.commit(changes)
        at = copy(source, target, 2, {}, at)

    assert facts(target) == facts(source)


def test_a_unique_key_that_has_changed_hands_within_one_commit_is_taken_over(source: Store, target: Store) -> None:
    source.commit([put("a", None, "k")])
    at = copy(source, target, 1, {})
    source.commit([put("b", None, "k"), delete("a", 1)])
    copy(source, target, 1, {}, at)

    assert facts(target) == facts(source)
    with pytest.raises(DuplicateKey):
        target.commit([put("n", None, "k")])


def test_what_does_not_follow_on_what_is_there_is_refused_and_nothing_stored(source: Store, target: Store) -> None:
    lived(source)
    versions = list(source.versions())
    target.restore(versions[:4])

    for wrong in (versions[:1], versions[6:], [versions[4], versions[4]]):
        with pytest.raises((VersionConflict, VersionOutOfOrder)):
            target.restore(wrong, [Record("r", "1", b"x")])

    assert target.history_count() == 4
    assert target.record_kinds() == []
    target.restore(versions[4:])
    assert facts(target) == facts(source)


def test_versions_older_than_what_is_there_are_refused(source: Store, target: Store) -> None:
    [old] = source.commit([put("a")])
    [version] = source.versions()
    [newer] = [version.stored._replace(id="b", updated=old.updated + 5000)]
    target.restore([TransferredVersion(newer, [])])

    with pytest.raises(VersionOutOfOrder):
        target.restore([version])

    assert target.history_count() == 1


def test_records_are_restored_with_the_versions_or_alone(source: Store, target: Store) -> None:
    source.commit([put("a")])
    target.restore(list(source.versions()), [Record("r", "1", b"one"), Record("q", "1", b"x")])
    target.restore([], [Record("r", "2", b"two"), Record("q", "1", None)])

    assert target.record_kinds() == ["r"]
    assert target.records("r") == [Record("r", "1", b"one"), Record("r", "2", b"two")]
    assert target.history_count() == 1


def test_a_store_that_was_opened_exists_and_can_be_read_without_opening_it(
    make_other: MakeOther, target: Store
) -> None:
    target.commit([put("a")], records=[Record("r", "1", b"x")])
    target.close()
    other = make_other()

    assert other.exists()
    assert [version.stored.id for version in other.versions()] == ["a"]
    assert (other.record_kinds(), other.records("r")) == (["r"], [Record("r", "1", b"x")])
    assert other.history_count() == len(other.history().entries) == 1
    assert other.secret() == target.secret()


def test_to_ask_whether_a_store_exists_changes_nothing(make_other: MakeOther, tmp_path: Path) -> None:
    other = make_other("nowhere")

    assert not other.exists()
    assert not other.exists()
    assert list((tmp_path / "nowhere").iterdir()) == []
    other.open(naive.schema())
    assert other.exists()
    assert list(other.versions()) == []
