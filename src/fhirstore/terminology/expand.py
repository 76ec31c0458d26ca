"""https://hl7.org/fhir/R4/valueset-operation-expand.html: the codes of a value set, filtered, paged or nested."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhirstore.formats.text import fold
from fhirstore.terminology.display import designation_json, display_in, in_language
from fhirstore.terminology.members import Entry, Members
from fhirstore.terminology.model import Designation, Unresolved

DEEPEST = 40
"""Levels of nested contains; what is deeper stands on the last."""
_KEPT = ("url", "identifier", "version", "name", "title", "status", "experimental", "date", "publisher", "immutable")
_DEFINITION = ("description", "useContext", "jurisdiction", "purpose", "copyright", "compose")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an expansion is wanted. Names as in the OperationDefinition. count None = all. designation: uses
    ("system|code") and languages that restrict `designations`, none = all of them. shown: the parameters as they are
    told in expansion.parameter."""

    filter: str = ""
    offset: int | None = None
    count: int | None = None
    include_designations: bool = False
    designation: tuple[str, ...] = ()
    include_definition: bool = False
    active_only: bool = False
    exclude_nested: bool = False
    exclude_not_for_ui: bool = False
    exclude_system: frozenset[str] = frozenset()
    display_language: str | None = None
    shown: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_flat(self) -> bool:
        """Paging applies to flat expansions only."""
        return self.exclude_nested or self.offset is not None or self.count is not None


class Listing:
    """All codes of a value set. Raises Unresolved where they cannot be listed."""

    def __init__(self, members: Members):
        self.members = members
        self.entries = list(members.entries())

    @cached_property
    def texts(self) -> list[str]:
        """What the filter is looked for in, one for each entry."""
        return [fold(" ".join((e.code, e.display or "", *(d.value for d in e.designation)))) for e in self.entries]

    @cached_property
    def versions(self) -> list[str]:
        """The code systems with their versions: "url|version"."""
        found = dict.fromkeys((e.system, e.version) for e in self.entries)
        return [f"{system}|{version}" for system, version in found if version]

    def selected(self, wanted: Wanted) -> list[Entry]:
        """The codes that pass what is wanted, all pages of them."""
        found: Iterable[Entry] = self.entries
        if words := fold(wanted.filter).split():
            found = (e for e, text in zip(self.entries, self.texts, strict=True) if all(w in text for w in words))
        if wanted.active_only:
            found = (e for e in found if not e.inactive)
        if wanted.exclude_not_for_ui:
            found = (e for e in found if not e.abstract)
        if wanted.exclude_system:
            found = (e for e in found if not _is_excluded(e, wanted.exclude_system))
        return found if isinstance(found, list) else list(found)


def _is_excluded(entry: Entry, systems: frozenset[str]) -> bool:
    return entry.system in systems or f"{entry.system}|{entry.version}" in systems


def expand(listing: Listing, wanted: Wanted, most: int, now: str) -> dict[str, Any]:
    """A ValueSet with its expansion. most: codes that one answer may hold. now: instant of the expansion.

    Raises Unresolved (too-costly) where the answer would hold more."""
    found = listing.selected(wanted)
    total = len(found)
    start = wanted.offset or 0
    page = found[start : start + wanted.count] if wanted.count is not None else found[start:]
    if len(page) > most:
        text = (
            f"the expansion has {total} codes; at most {most} are given at once (setting max_expansion). "
            "Ask for pages with count and offset, or for fewer with filter"
        )
        raise Unresolved(text, "too-costly")
    expansion: dict[str, Any] = {"identifier": f"urn:uuid:{uuid.uuid4()}", "timestamp": now, "total": total}
    if wanted.is_flat:
        expansion["offset"] = start
    used = [{"name": "version", "valueUri": version} for version in listing.versions]
    if parameters := [*wanted.shown, *used]:
        expansion["parameter"] = parameters
    if page:
        expansion["contains"] = [_contains(e, wanted) for e in page] if wanted.is_flat else _nested(page, wanted)
    return {**_head(listing.members, wanted), "expansion": expansion}


def _head(members: Members, wanted: Wanted) -> dict[str, Any]:
    resource = members.resource or {}
    keys = (*_KEPT, *_DEFINITION) if wanted.include_definition else _KEPT
    kept = {key: resource[key] for key in keys if key in resource}
    return {"resourceType": "ValueSet", "status": "unknown", **kept}


def _contains(entry: Entry, wanted: Wanted) -> dict[str, Any]:
    out: dict[str, Any] = {"system": entry.system} if entry.system else {}
    if entry.abstract:
        out["abstract"] = True
    if entry.inactive:
        out["inactive"] = True
    if entry.version:
        out["version"] = entry.version
    out["code"] = entry.code
    display = display_in(entry.display, entry.designation, wanted.display_language)
    if display:
        out["display"] = display
    if wanted.include_designations and (chosen := _chosen(entry.designation, wanted.designation)):
        out["designation"] = [designation_json(d) for d in chosen]
    return out


def _chosen(designations: Sequence[Designation], tokens: tuple[str, ...]) -> list[Designation]:
    if not tokens:
        return list(designations)
    return [d for d in designations if any(_matches(d, token) for token in tokens)]


def _matches(designation: Designation, token: str) -> bool:
    system, bar, code = token.rpartition("|")
    if system in ("", "urn:ietf:bcp:47") and in_language(designation.language, code):
        return True
    use = designation.use or {}
    return use.get("code") == code and (not bar or use.get("system", "") == system)


# --- nested contains ----------------------------------------------------------------------------------


def _nested(entries: Sequence[Entry], wanted: Wanted) -> list[dict[str, Any]]:
    """Each code below the nearest of its ancestors that is in the expansion too; codes that a value set lists one by
    one keep their places."""
    above = _parents(entries)
    made = {(e.system, e.code): _contains(e, wanted) for e in entries}
    top: list[dict[str, Any]] = []
    for key, item in made.items():
        parent = above.get(key)
        siblings = top if parent is None else made[parent].setdefault("contains", [])
        siblings.append(item)
    return top


_Key = tuple[str, str]


def _parents(entries: Sequence[Entry]) -> dict[_Key, _Key]:
    present = {(e.system, e.code) for e in entries}
    above: dict[_Key, _Key] = {}
    for entry in entries:
        if entry.listed or entry.home is None or entry.code not in entry.home.parents:
            continue
        key = (entry.system, entry.code)
        parent = _nearest(entry, present)
        while parent is not None and (way := _way_up(parent, above)) is not None:
            if key in way:  # a circle in the code system
                parent = None
            elif len(way) < DEEPEST:
                above[key] = parent
                break
            else:
                parent = above.get(parent)
    return above


def _way_up(key: _Key, above: Mapping[_Key, _Key]) -> list[_Key]:
    way = [key]
    while (parent := above.get(way[-1])) is not None:
        way.append(parent)
    return way


def _nearest(entry: Entry, present: set[_Key]) -> _Key | None:
    assert entry.home is not None
    seen: set[str] = {entry.code}
    todo = list(entry.home.parents[entry.code])
    while todo:
        fresh: list[str] = []
        for code in todo:
            if (entry.system, code) in present and code != entry.code:
                return entry.system, code
            if code not in seen:
                seen.add(code)
                fresh += entry.home.parents.get(code, ())
        todo = fresh
    return None
