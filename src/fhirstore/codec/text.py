"""Texts as they are compared where case and accents do not count."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Text without case, accents and surplus blanks, for comparisons that ignore these."""
    if text.isascii():
        return " ".join(text.lower().split())
    bare = _bare(text).casefold()
    return " ".join((bare if bare.isascii() else _bare(bare)).split())


def _bare(text: str) -> str:
    """Compatibility decomposition without combining marks."""
    return "".join([c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)])
