"""The results that an engine keeps with a version."""

from __future__ import annotations

from fhirstore.model.stored import MOST_VIEWS, VersionCache


def test_a_version_keeps_the_entries_of_a_few_views_and_always_the_last() -> None:
    cache = VersionCache()
    for number in range(10 * MOST_VIEWS):
        cache.remember(cache.matches, f"view {number}", b"%d" % number)
        assert cache.matches[f"view {number}"] == b"%d" % number
        assert len(cache.matches) <= MOST_VIEWS
    assert cache.includes == {}


def test_versions_are_equal_whatever_is_kept_with_them() -> None:
    one, other = VersionCache(), VersionCache()
    one.remember(one.matches, "view", b"entry")
    assert one == other
    assert one == None  # noqa: E711
    assert one != "entry"
