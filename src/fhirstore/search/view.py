"""What the entries of a search answer show of the resources found. A plugin's search may show less, or something else.

An answer has hundreds of entries, and the same resources come back in the next one: so a view is a pure function of
one version, and what it gave is kept with that version (`Memo`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from fhirstore.store.base import Stored


class AnswerEntry(msgspec.Struct, gc=False):
    """An entry of a search answer. meta and body as in `Stored`: change them here to change the answer only.

    varies: set by a view where what it shows depends on the request, so that it must not be kept."""

    type: str
    id: str
    version: int
    updated: int
    mode: str  # match | include | outcome
    meta: bytes
    body: bytes
    varies: bool = False


@dataclass(slots=True)
class Shown:
    """The answer of a search with a view, before it is written.

    matches, includes: what the view shows, as stored. hidden: what it does not. left_out: references ("Type/id") of
    more that is to be left out. total None = left out. profile: Bundle.meta.profile."""

    matches: Sequence[Stored]
    includes: Sequence[Stored]
    hidden: Sequence[Stored]
    total: int | None
    profile: str | None = None
    left_out: set[str] = field(default_factory=set)


def _nothing(shown: Shown) -> None:
    """The answer as it is."""


@dataclass(frozen=True, slots=True)
class View:
    """name: two views of one name show the same of a resource; there are few of them, so no part of a request belongs
    in it. show: changes the entry in place, of which it may look at everything; False = not to be shown.
    finish: sees, and may change, the answer as a whole."""

    name: str
    show: Callable[[AnswerEntry], bool]
    finish: Callable[[Shown], None] = _nothing


PLAIN = View("", lambda entry: True)
"""Everything as it is stored."""
