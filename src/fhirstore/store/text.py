"""Texts in the order of their code points, as all engines compare them."""

from __future__ import annotations


def successor(prefix: str) -> str | None:
    """The least text greater than all texts that start with `prefix`; None = there is none."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        prefix = prefix[:-1]
    return None
