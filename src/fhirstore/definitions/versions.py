"""https://hl7.org/fhir/packages.html and https://semver.org: versions of packages and of canonical resources."""

from __future__ import annotations

from typing import Any

ANY = ("current", "dev", "latest")
"""These match any version. `current` and `dev` are builds that are not published in a registry."""

_DIGITS = 18


def version_key(version: str) -> tuple[Any, ...]:
    """A sort key: 1.2.0 < 1.10.0-ballot < 1.10.0; 1.0 and 1.0.0 are equal. Accepts any text."""
    release, _, pre = version.partition("+")[0].partition("-")
    numbers = [_part(p) for p in release.split(".")]
    while numbers and numbers[-1] == (0, 0, ""):
        numbers.pop()
    return tuple(numbers), not pre, tuple(_part(p) for p in pre.split("."))


def is_wildcard(pattern: str) -> bool:
    """Whether several versions may match."""
    return pattern in ANY or pattern.rpartition(".")[2] in ("x", "*")


def satisfies(version: str, pattern: str) -> bool:
    """Whether a version matches a pattern: a version, a version with x for any part (4.0.x), or one of `ANY`."""
    if pattern in ANY:
        return True
    parts, found = pattern.split("."), version.split(".")
    if parts[-1] in ("x", "*"):
        return found[: len(parts) - 1] == parts[:-1]
    return parts == found


def _part(text: str) -> tuple[int, int, str]:
    """Numbers sort before words, by value."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return (0, int(text), "") if is_number else (1, 0, text)
