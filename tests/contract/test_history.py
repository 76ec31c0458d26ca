"""Versions, newest first, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from fhirstore.model.stored import Change, Stored
from fhirstore.store.protocol import Store


@pytest.fixture
def versions(store: Store) -> list[Stored]:
    """All versions there are, newest first: two resources of one type, one of another, one deleted and made again."""
    made: list[Stored] = []
    for type, id, replaces, deleted in [
        ("Thing", "a", None, False),
        ("Other", "a", None, False),
        ("Thing", "a", 1, False),
        ("Thing", "b", None, False),
        ("Thing", "a", 2, True),
        ("Thing", "a", 3, False),
    ]:
        method = "DELETE" if deleted else "PUT"
        made += store.commit([Change(type, id, replaces, method, b"", b"" if deleted else b'"n":1', deleted=deleted)])
    made += store.commit([Change("Thing", "c", None, "POST"), Change("Other", "c", None, "POST")])
    return made[::-1]


def named(entries: list[Stored]) -> list[tuple[str, str, int]]:
    return [(one.type, one.id, one.version) for one in entries]


def all_pages(store: Store, size: int, **what: Any) -> list[tuple[str, str, int]]:
    found: list[Stored] = []
    after = None
    while True:
        page = store.history(**what, after=after, limit=size)
        assert len(page.entries) <= size
        found += page.entries
        if page.next is None:
            return named(found)
        after = page.next


@pytest.mark.parametrize("what", [{}, {"type": "Thing"}, {"type": "Thing", "id": "a"}, {"type": "Thing", "id": "no"}])
def test_history_has_every_version_once_whatever_the_page_size(
    store: Store, versions: list[Stored], what: dict[str, str]
) -> None:
    expected = [one for one in versions if what.items() <= {"type": one.type, "id": one.id}.items()]

    assert named(store.history(**what).entries) == named(expected)  # type: ignore[arg-type]
    for size in (1, 2, 3, 100):
        assert all_pages(store, size, **what) == named(expected)
    assert store.history_count(**what) == len(expected)  # type: ignore[arg-type]


def test_history_shows_versions_as_they_were_stored(store: Store, versions: list[Stored]) -> None:
    for entries in (store.history().entries, store.history("Thing", "a").entries):
        assert all(one._replace(key=None) in [v._replace(key=None) for v in versions] for one in entries)


@pytest.mark.parametrize("what", [{}, {"type": "Thing"}, {"type": "Thing", "id": "a"}])
def test_history_is_bounded_by_since_and_until(store: Store, versions: list[Stored], what: dict[str, str]) -> None:
    times = [one.updated for one in versions]
    for since in (None, times[0], times[3], times[3] - 1, times[3] + 1, times[-1], 0, 2**62, -5):
        for until in (None, times[0], times[3], times[3] - 1, times[3] + 1, times[-1], 0, 2**62, -5):
            expected = [
                one
                for one in versions
                if what.items() <= {"type": one.type, "id": one.id}.items()
                and (since is None or since <= one.updated)
                and (until is None or one.updated < until)
            ]
            found = store.history(**what, since=since, until=until)  # type: ignore[arg-type]
            assert named(found.entries) == named(expected)
            assert store.history_count(**what, since=since, until=until) == len(expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", [{}, {"type": "Thing"}, {"type": "Thing", "id": "a"}])
def test_what_is_written_between_two_pages_neither_repeats_nor_hides_a_version(
    store: Store, versions: list[Stored], what: dict[str, str]
) -> None:
    before = named(store.history(**what).entries)  # type: ignore[arg-type]
    page = store.history(**what, limit=2)  # type: ignore[arg-type]
    store.commit([Change("Thing", "a", 4, "PUT"), Change("Other", "c", 1, "DELETE", deleted=True)])

    rest = store.history(**what, after=page.next)  # type: ignore[arg-type]

    assert named(page.entries + rest.entries) == before
