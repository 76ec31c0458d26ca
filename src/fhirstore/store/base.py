"""What a store is: the Condition algebra, the rows, the protocol. Engines know no HTTP and no FHIR rules.

All engines answer the same contract tests (tests/contract). Nothing here assumes SQL.

Index entries
-------------
`search/` extracts from each resource, for each search parameter, a list of entries. An entry is a plain
tuple whose shape follows from the parameter's kind (`Kind`):

========== ============================== ======================================================
kind       entry                          meaning
========== ============================== ======================================================
token      (system | "", code | "")       system "" = none given; code "" = none given
string     (normal, exact)                normal = folded text, exact = as sent
date       (low, high)                    microseconds since 1970 UTC, half open [low, high)
number     (key,)                         order-preserving text of a decimal (`search.values`)
quantity   (key, system, code, unit)      key as for number; "" where absent
reference  (target,)                      "Type/id" for local ones, else the absolute URL or canonical
uri        (uri,)                         as sent
========== ============================== ======================================================

The first member of an entry is its sort key, for tokens the code; engines compare sort keys and never compute them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

Kind = Literal["token", "string", "date", "number", "quantity", "reference", "uri"]
Entry = tuple[Any, ...]
Index = Mapping[str, Sequence[Entry]]

MIN_TIME = -(2**62)
MAX_TIME = 2**62


# --- Condition algebra ------------------------------------------------------------------------------


class Condition:
    """A predicate over resources of one type. Leaves look at one index entry at a time."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class All(Condition):
    """Every part holds; All(()) is always true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf(Condition):
    """Some part holds; AnyOf(()) is never true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The part does not hold (a resource without the parameter satisfies Not of a leaf)."""

    part: Condition


@dataclass(frozen=True, slots=True)
class Ids(Condition):
    """The logical id is one of these."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Updated(Condition):
    """meta.lastUpdated, in microseconds: ge <= t < lt; None = open."""

    ge: int | None = None
    lt: int | None = None


@dataclass(frozen=True, slots=True)
class Present(Condition):
    """The parameter has at least one entry (`:missing=false`)."""

    param: str


@dataclass(frozen=True, slots=True)
class Token(Condition):
    """Some entry has this code and this system; None = any, "" = explicitly none."""

    param: str
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class Text(Condition):
    """A string entry. how: "prefix" and "contains" compare `value` with normal, "exact" with exact."""

    param: str
    how: Literal["prefix", "contains", "exact"]
    value: str


@dataclass(frozen=True, slots=True)
class Date(Condition):
    """Some entry [low, high) satisfies all given bounds at once; None = no bound.

    low_ge: low >= x · low_lt: low < x · high_le: high <= x · high_gt: high > x (microseconds)
    """

    param: str
    low_ge: int | None = None
    low_lt: int | None = None
    high_le: int | None = None
    high_gt: int | None = None


@dataclass(frozen=True, slots=True)
class Number(Condition):
    """Some number or quantity entry whose key lies within the bounds, and, for quantities, whose unit fits.

    ge/gt/le/lt: keys as made by `search.values.number_key`; None = open.
    system: None = any. code: None = any; given without system it equals the entry's code or its unit.
    """

    param: str
    ge: str | None = None
    gt: str | None = None
    le: str | None = None
    lt: str | None = None
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Ref(Condition):
    """Some reference entry equals one of the targets ("Type/id" or an absolute URL)."""

    param: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Uri(Condition):
    """A uri entry. how: "exact", "below" (entry starts with value), "above" (value starts with entry)."""

    param: str
    value: str
    how: Literal["exact", "below", "above"] = "exact"


@dataclass(frozen=True, slots=True)
class Linked(Condition):
    """Chaining: some entry of reference parameter `param` names a live resource of `type` for which `where` holds."""

    param: str
    type: str
    where: Condition


@dataclass(frozen=True, slots=True)
class LinkedFrom(Condition):
    """`_has`: some live resource of `type` for which `where` holds names this one in its reference parameter."""

    type: str
    param: str
    where: Condition


EVERYTHING = All(())
NOTHING = AnyOf(())


@dataclass(frozen=True, slots=True)
class Sort:
    """Order by a parameter's least (ascending) or greatest (descending) sort key; resources without it come last
    in both directions; ties and the end of every order: id ascending. param may be "_id" or "_lastUpdated"."""

    param: str
    descending: bool = False


# --- Rows --------------------------------------------------------------------------------------------


class Memo(dict[Any, Any]):
    """What has been worked out from one version and is right as long as it is kept; None = the engine keeps it not.

    Keys are few, whatever is asked: nothing that a request can choose. Two versions do not differ by it."""

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Memo)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


class Stored(NamedTuple):
    """One version of one resource.

    meta and body are JSON *members* without the enclosing braces (b'"profile":["…"]', b'"status":"free",…'):
    meta without versionId and lastUpdated, body without resourceType, id and meta, in the sender's property
    order. Both may be empty. A deleted version has neither. `codec.compose` makes the resource from them.
    """

    type: str
    id: str
    version: int
    updated: int  # microseconds since 1970 UTC, a multiple of 1000
    deleted: bool
    method: str  # POST | PUT | PATCH | DELETE: how this version came about
    meta: bytes
    body: bytes
    key: Any = None  # the engine's own handle of the current version; opaque
    memo: Memo | None = None

    @property
    def ref(self) -> str:
        return f"{self.type}/{self.id}"


@dataclass(frozen=True, slots=True)
class Change:
    """A new version of one resource.

    replaces: the current version this change was computed from (deleted versions count), None = there is none.
    index: entries by parameter code; empty for a deletion. unique: keys that no other live resource may hold.
    """

    type: str
    id: str
    replaces: int | None
    method: str
    meta: bytes = b""
    body: bytes = b""
    index: Index | None = None
    unique: tuple[str, ...] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Guard:
    """What an interaction saw: inside the commit, before its changes, `where` must match exactly these ids.

    (If more than `len(ids)` match, or others, GuardChanged.)"""

    type: str
    where: Condition
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Record:
    """A plugin's private row; value None deletes it."""

    kind: str
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class RecordGuard:
    """What was seen of a record: inside the commit, before its changes, it must have this value, None = not exist.

    The commit must write the record itself: so two with the same guard meet, on every engine."""

    kind: str
    key: str
    value: bytes | None


class Page(NamedTuple):
    """entries in order; next: where the following page starts (JSON-able, opaque), None = this is the last."""

    entries: list[Stored]
    next: list[Any] | None


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A search parameter as an engine sees it. digest changes when its meaning changes (then it must be reindexed).

    single: no resource can have more than one entry (such a parameter may stand in a compound index).
    identifying: a token parameter of which few resources share an entry, so that conditional writes ask for it
    (FHIR's identifier); an engine may let only those writers wait for one another that name the same entry.
    """

    code: str
    kind: Kind
    single: bool
    digest: str
    identifying: bool = False


@dataclass(frozen=True, slots=True)
class Compound:
    """A compound index a plugin declares: single-valued parameters of one type, most selective first (2 to 4).

    Token members are compared by code alone, date members by their low bound."""

    type: str
    params: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """Everything an engine must index: by type, its parameters; and the compound indexes."""

    types: Mapping[str, Mapping[str, ParamSpec]]
    compounds: tuple[Compound, ...] = ()


class IndexInfo(NamedTuple):
    """A database index. state: present · missing = declared, and not there yet (or being made) · unused = made by
    fhirstore, and no longer declared · foreign = made by somebody else. size: bytes; uses: how often it has served
    since the database server started; both None where the engine cannot tell."""

    collection: str
    name: str
    fields: tuple[str, ...]
    state: Literal["present", "missing", "unused", "foreign"]
    size: int | None = None
    uses: int | None = None


# --- Errors ------------------------------------------------------------------------------------------


class StoreError(Exception):
    """Base of what an engine raises. After any of them nothing of the commit is stored."""


class VersionConflict(StoreError):
    """The current version of (type, id) is not the one that the change replaces. actual: None = there is none."""

    def __init__(self, type: str, id: str, expected: int | None, actual: int | None):
        super().__init__(f"{type}/{id}: expected version {expected}, found {actual}")
        self.type, self.id, self.expected, self.actual = type, id, expected, actual


class DuplicateKey(StoreError):
    """A unique key of (type, id) is held by another live resource, `holder` ("Type/id")."""

    def __init__(self, key: str, type: str, id: str, holder: str):
        super().__init__(f"{key} is held by {holder}")
        self.key, self.type, self.id, self.holder = key, type, id, holder


class GuardChanged(StoreError):
    """A guard no longer holds: the interaction must look again."""

    def __init__(self, guard: Guard | RecordGuard):
        if isinstance(guard, RecordGuard):
            super().__init__(f"the record {guard.key} has changed")
        else:
            super().__init__(f"the resources that match on {guard.type} have changed")
        self.guard = guard


class Unavailable(StoreError):
    """The store cannot answer now (locked too long, no primary…); the client may retry after some seconds."""


class StateLost(Unavailable):
    """The state that was being read is gone (an election, a snapshot grown too old); from the start it can be read."""


class TimedOut(StoreError):
    """A search took longer than the store's time limit."""


class TooComplex(StoreError):
    """The search is nested deeper than the engine can express."""


class TooLarge(StoreError):
    """The resource with its index entries is larger than the engine can hold."""


# --- Protocol ----------------------------------------------------------------------------------------

T = TypeVar("T")
_ATTEMPTS = 4
Extractor = Callable[[Stored], Mapping[str, Sequence[Entry]]]


class Store(Protocol):
    """An engine. Thread-safe; created before fork, connects on first use in each process and thread."""

    def open(self, schema: Schema) -> None:
        """Creates or checks the database and records the schema. Parameters that are new, or whose digest changed,
        while resources of their type exist, become pending until `reindex`. Raises StartupError."""

    def reading(self) -> AbstractContextManager[None]:
        """All reads inside see one state of the store, where the engine can do that. Reentrant, per thread."""
        ...

    def read(self, type: str, id: str, version: int | None = None) -> Stored | None:
        """The current version (a deleted one too), or the version asked for; None = never existed."""
        ...

    def commit(
        self, changes: Sequence[Change], guards: Sequence[Guard | RecordGuard] = (), records: Sequence[Record] = ()
    ) -> list[Stored]:
        """Stores all or nothing, durably; returns the new versions in order. A (type, id) occurs once in changes.
        All versions of one commit share `updated`. It never decreases from commit to commit of one process, and is
        later than that of each version replaced; between servers their clocks may differ. A commit of records alone
        needs no `open` (its guards are then on records, too).
        Raises VersionConflict, DuplicateKey, GuardChanged, Unavailable."""
        ...

    def find(
        self,
        type: str,
        where: Condition,
        sort: Sequence[Sort] = (),
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> Page:
        """Live resources of the type that satisfy `where`, in order; keyset paging: a resource that matched
        throughout with an unchanged sort key is seen exactly once, whatever is written meanwhile."""
        ...

    def count(self, type: str, where: Condition, at_most: int | None = None) -> int:
        """How many match; stops counting at `at_most`."""
        ...

    def read_many(self, refs: Iterable[str]) -> list[Stored]:
        """The live resources among these "Type/id", each once, in no particular order."""
        ...

    def references(self, sources: Sequence[Stored], param: str) -> list[str]:
        """The distinct targets of reference parameter `param` of these current versions (all of one type)."""
        ...

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: list[Any] | None = None,
        limit: int | None = None,
    ) -> Page:
        """Versions, newest first, with since <= updated < until. Who asks again with `since` = the greatest `updated`
        that he was given, for a type or for all, sees every version that was not there before."""
        ...

    def history_count(
        self, type: str | None = None, id: str | None = None, since: int | None = None, until: int | None = None
    ) -> int: ...

    def holder(self, key: str) -> str | None:
        """The live resource ("Type/id") that holds a unique key; None = it is free."""
        ...

    def records(self, kind: str, after: str = "", limit: int = 1000) -> list[Record]:
        """Records of a kind with key > after, by key."""
        ...

    def pending(self) -> frozenset[tuple[str, str]]:
        """(type, parameter) pairs that must be reindexed before a search on them is complete."""
        ...

    def reindex(self, extract: Extractor, progress: Callable[[int, int], None] | None = None) -> int:
        """Recomputes all entries of the types with pending parameters, in batches, resumable, while serving.
        progress(done, total). Returns the number of resources done."""
        ...

    def scan(self, type: str | None = None) -> Iterator[Stored]:
        """All live resources, type by type, in no particular order within a type, in batches (for export)."""
        ...

    def indexes(self) -> list[IndexInfo]:
        """The indexes of the schema that was opened, and all others that there are, by collection and name."""
        ...

    def drop_unused(self) -> list[IndexInfo]:
        """Removes the indexes whose state is unused; returns them."""
        ...

    def secret(self) -> bytes:
        """32 random bytes made with the store: the default key of paging tokens."""
        ...

    def health(self) -> None:
        """Returns if the store can be read and written to; raises Unavailable otherwise."""

    def close(self) -> None: ...


def in_one_state(store: Store, read: Callable[[], T]) -> T:
    """What `read` gives, all its reads of one state; begun anew, a few times, where the state is lost."""
    for _ in range(_ATTEMPTS - 1):
        try:
            with store.reading():
                return read()
        except StateLost:
            continue
    with store.reading():
        return read()
