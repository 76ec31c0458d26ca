"""Texts in the order of their code points."""

from __future__ import annotations


def successor(prefix: str) -> str | None:
    """Returns the least text that is greater than all texts with this prefix, None if no such text exists."""
    while prefix:
        last = ord(prefix[-1])
        if last < 0x10FFFF:
            return prefix[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        prefix = prefix[:-1]
    return None
