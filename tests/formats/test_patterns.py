"""Patterns of packages and clients take linear time, or are refused."""

from __future__ import annotations

import pytest

from fhirstore.formats.patterns import MAX_PATTERN, compile_pattern, replace_matches


@pytest.mark.parametrize(
    "pattern",
    [
        ".*a.*a.*a.*b",
        "(a+)+$",
        "(a|a)*c",
        "(.*){20}b",
        "(x+x+)+y",
        "([a-zA-Z]+)*!",
        "(a?){100}a{100}b",
        "^(([a-z])+.)+[A-Z]",
    ],
)
def test_a_pattern_that_would_backtrack_is_searched(pattern: str) -> None:
    """With `re`, none of these searches ends."""
    text = "a" * 1_000_000
    compiled = compile_pattern(pattern)
    assert (compiled.search(text) is not None) is (pattern in ("(a+)+$",))
    assert compiled.fullmatch(text + "\n") is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?=a)b", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("[", "missing"),
        ("a{2,1}", "invalid repetition"),
        ("(a{1000}){1000}", "invalid repetition"),
        ("a{900}b{900}c{900}d{900}e{900}", "too large"),
        (r"(\pL?){100}", "too large"),
        ("a" * (MAX_PATTERN + 1), "more than 2000 characters"),
    ],
)
def test_other_patterns_are_refused_with_a_reason(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        compile_pattern(pattern)
    assert "RE2" in str(refused.value)


def test_a_search_finds_a_part_and_a_full_match_the_whole() -> None:
    compiled = compile_pattern("b+")
    assert compiled.search("abbc")
    assert compiled.fullmatch("abbc") is None
    assert compiled.fullmatch("bb")


def test_matches_are_replaced_by_the_text_as_it_is() -> None:
    assert replace_matches("a1b22", "[0-9]+", r"<\1$0>") == r"a<\1$0>b<\1$0>"


def test_replacing_in_a_long_text_is_refused() -> None:
    assert replace_matches("x" * 1000, "x*y|x", "z") == "z" * 1000
    with pytest.raises(ValueError, match="too long for replaceMatches"):
        replace_matches("x" * 10_000, "x*y|x", "z")
