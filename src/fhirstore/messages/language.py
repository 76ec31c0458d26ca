"""Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4."""

from __future__ import annotations

import re
from functools import lru_cache

ENGLISH = "en"
_RANGE = re.compile(
    r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*|\*)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?"
)


@lru_cache(maxsize=256)
def preferred(header: str, available: tuple[str, ...]) -> str:
    """The language of `available` ("fr") that the header likes most; of those that it likes the same, the one that it
    names first. English when it wants none of them, or cannot be read; a range that cannot be read is passed over.

    A range counts for the language that it begins with (fr-CA for fr); `*` counts for all that are not named."""
    named: dict[str, tuple[float, int]] = {}
    for place, part in enumerate(header.split(",")[:50]):
        found = _RANGE.fullmatch(part)
        if found is not None:
            language = found[1].partition("-")[0].lower()
            weight = float(found[2]) if found[2] is not None else 1.0
            if language not in named or weight > named[language][0]:
                named[language] = (weight, -place)
    rest = named.get("*", (0.0, -100))
    # What only `*` stands for goes in the order of `available`, behind what is named.
    liked = [
        (*named.get(language, (rest[0], rest[1] - 100)), -place, language) for place, language in enumerate(available)
    ]
    best = max(liked)
    return best[3] if best[0] > 0 else ENGLISH
