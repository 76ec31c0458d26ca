"""How much generated tests do: a part of their cases in `make test`, all of them in `make test-deep`."""

from __future__ import annotations

import os

DEEP = os.environ.get("TEST_DEEP") == "1"


def size(variable: str, quick: int, deep: int) -> int:
    """The number that the environment variable says; without it `deep` in `make test-deep`, else `quick`."""
    return int(os.environ.get(variable, deep if DEEP else quick))
