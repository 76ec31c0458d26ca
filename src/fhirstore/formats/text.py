"""Texts as they are compared where case and accents do not count."""

from __future__ import annotations

import re
import unicodedata

_ACCENTS = re.compile("[\u0300-\u036f]+")


def fold(text: str) -> str:
    """Text without case, accents and surplus blanks, for comparisons that ignore these."""
    if text.isascii():
        return " ".join(text.lower().split())
    quick = _ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    if quick.isascii():
        return " ".join(quick.lower().split())
    bare = _bare(text).casefold()
    return " ".join((bare if bare.isascii() else _bare(bare)).split())


def _bare(text: str) -> str:
    """Compatibility decomposition without combining marks."""
    return "".join([c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)])
