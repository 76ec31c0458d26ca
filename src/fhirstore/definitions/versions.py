"""https://hl7.org/fhir/packages.html and https://semver.org: versions of packages and of canonical resources."""

from __future__ import annotations

from typing import Any

ANY = ("current", "dev", "latest")
"""Any version will do. `current` and `dev` are builds that no registry has."""

_DIGITS = 18


def version_key(version: str) -> tuple[Any, ...]:
    """Orders versions: 1.2.0 < 1.10.0-ballot < 1.10.0; 1.0 and 1.0.0 are equal. Any text has its place."""
    release, _, pre = version.partition("+")[0].partition("-")
    numbers = [_part(p) for p in release.split(".")]
    while numbers and numbers[-1] == (0, 0, ""):
        numbers.pop()
    return tuple(numbers), not pre, tuple(_part(p) for p in pre.split("."))


def is_wildcard(wanted: str) -> bool:
    """Whether several versions may satisfy it."""
    return wanted in ANY or wanted.rpartition(".")[2] in ("x", "*")


def satisfies(version: str, wanted: str) -> bool:
    """`wanted` is a version, or has x for the parts that do not matter (4.0.x), or is `latest` and the like."""
    if wanted in ANY:
        return True
    parts, found = wanted.split("."), version.split(".")
    if parts[-1] in ("x", "*"):
        return found[: len(parts) - 1] == parts[:-1]
    return parts == found


def _part(text: str) -> tuple[int, int, str]:
    """Numbers come before words and are compared as numbers."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return (0, int(text), "") if is_number else (1, 0, text)
