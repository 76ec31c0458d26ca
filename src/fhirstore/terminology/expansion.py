"""https://hl7.org/fhir/R4/valueset-operation-expand.html: the codes of a value set, filtered, paged or nested."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fhirstore.formats.text import fold
from fhirstore.model.messages import Message
from fhirstore.terminology.code_sets import ExpansionEntry
from fhirstore.terminology.display import designation_json, display_in, in_language
from fhirstore.terminology.model import Designation, Unresolved
from fhirstore.terminology.value_sets import ValueSet

MAX_NESTING = 40
"""Levels of nested contains; deeper codes are put on the last level."""
_METADATA = (
    "url",
    "identifier",
    "version",
    "name",
    "title",
    "status",
    "experimental",
    "date",
    "publisher",
    "immutable",
)
_DEFINITION = ("description", "useContext", "jurisdiction", "purpose", "copyright", "compose")


@dataclass(frozen=True, slots=True)
class ExpansionOptions:
    """The in parameters of $expand, under their names in the OperationDefinition. count: None = all.

    designation: uses ("system|code") and languages of the designations to include, empty = all. echoed: the entries of
    ValueSet.expansion.parameter."""

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
    echoed: tuple[Mapping[str, Any], ...] = ()

    @property
    def is_flat(self) -> bool:
        """Whether the expansion is not nested; pages never are."""
        return self.exclude_nested or self.offset is not None or self.count is not None


class Expansion:
    """All codes of a value set. Raises Unresolved if they cannot be enumerated."""

    def __init__(self, value_set: ValueSet):
        self.value_set = value_set
        self.entries = list(value_set.entries())

    @cached_property
    def texts(self) -> list[str]:
        """The folded text of each entry, for `filter`."""
        return [fold(" ".join((e.code, e.display or "", *(d.value for d in e.designation)))) for e in self.entries]

    @cached_property
    def versions(self) -> list[str]:
        """The versions of the code systems: "url|version"."""
        found = dict.fromkeys((e.system, e.version) for e in self.entries)
        return [f"{system}|{version}" for system, version in found if version]

    def selected(self, options: ExpansionOptions) -> list[ExpansionEntry]:
        """The codes that match the options, of all pages."""
        found: Iterable[ExpansionEntry] = self.entries
        if words := fold(options.filter).split():
            found = (e for e, text in zip(self.entries, self.texts, strict=True) if all(w in text for w in words))
        if options.active_only:
            found = (e for e in found if not e.inactive)
        if options.exclude_not_for_ui:
            found = (e for e in found if not e.abstract)
        if options.exclude_system:
            found = (e for e in found if not _is_excluded(e, options.exclude_system))
        return found if isinstance(found, list) else list(found)


def _is_excluded(entry: ExpansionEntry, systems: frozenset[str]) -> bool:
    return entry.system in systems or f"{entry.system}|{entry.version}" in systems


def expand(expansion: Expansion, options: ExpansionOptions, limit: int, now: str) -> dict[str, Any]:
    """A ValueSet with its expansion. limit: number of codes. now: the instant for expansion.timestamp.

    Raises Unresolved (too-costly) if the page has more codes."""
    found = expansion.selected(options)
    total = len(found)
    start = options.offset or 0
    page = found[start : start + options.count] if options.count is not None else found[start:]
    if len(page) > limit:
        text = Message(
            "the expansion has {total} codes; the limit of a response is {limit} (setting "
            "max_expansion). Request pages with count and offset, or fewer codes with filter",
            total=total,
            limit=limit,
        )
        raise Unresolved(text, "too-costly")
    out: dict[str, Any] = {"identifier": f"urn:uuid:{uuid.uuid4()}", "timestamp": now, "total": total}
    if options.is_flat:
        out["offset"] = start
    used = [{"name": "version", "valueUri": version} for version in expansion.versions]
    if parameters := [*options.echoed, *used]:
        out["parameter"] = parameters
    if page:
        out["contains"] = [_contains(e, options) for e in page] if options.is_flat else _nested(page, options)
    return {**_metadata(expansion.value_set, options), "expansion": out}


def _metadata(value_set: ValueSet, options: ExpansionOptions) -> dict[str, Any]:
    resource = value_set.resource or {}
    keys = (*_METADATA, *_DEFINITION) if options.include_definition else _METADATA
    kept = {key: resource[key] for key in keys if key in resource}
    return {"resourceType": "ValueSet", "status": "unknown", **kept}


def _contains(entry: ExpansionEntry, options: ExpansionOptions) -> dict[str, Any]:
    out: dict[str, Any] = {"system": entry.system} if entry.system else {}
    if entry.abstract:
        out["abstract"] = True
    if entry.inactive:
        out["inactive"] = True
    if entry.version:
        out["version"] = entry.version
    out["code"] = entry.code
    display = display_in(entry.display, entry.designation, options.display_language)
    if display:
        out["display"] = display
    if options.include_designations and (selected := _selected_designations(entry.designation, options.designation)):
        out["designation"] = [designation_json(d) for d in selected]
    return out


def _selected_designations(designations: Sequence[Designation], tokens: tuple[str, ...]) -> list[Designation]:
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


def _nested(entries: Sequence[ExpansionEntry], options: ExpansionOptions) -> list[dict[str, Any]]:
    """Nests each code in its nearest ancestor that is in the expansion. Enumerated codes keep their positions."""
    parents = _parents(entries)
    made = {(e.system, e.code): _contains(e, options) for e in entries}
    top: list[dict[str, Any]] = []
    for key, item in made.items():
        parent = parents.get(key)
        siblings = top if parent is None else made[parent].setdefault("contains", [])
        siblings.append(item)
    return top


_Key = tuple[str, str]


def _parents(entries: Sequence[ExpansionEntry]) -> dict[_Key, _Key]:
    present = {(e.system, e.code) for e in entries}
    parents: dict[_Key, _Key] = {}
    for entry in entries:
        if entry.enumerated or entry.code_system is None or entry.code not in entry.code_system.parents:
            continue
        key = (entry.system, entry.code)
        parent = _nearest(entry, present)
        while parent is not None and (path := _path_to_root(parent, parents)) is not None:
            if key in path:  # a cycle in the code system
                parent = None
            elif len(path) < MAX_NESTING:
                parents[key] = parent
                break
            else:
                parent = parents.get(parent)
    return parents


def _path_to_root(key: _Key, parents: Mapping[_Key, _Key]) -> list[_Key]:
    path = [key]
    while (parent := parents.get(path[-1])) is not None:
        path.append(parent)
    return path


def _nearest(entry: ExpansionEntry, present: set[_Key]) -> _Key | None:
    assert entry.code_system is not None
    seen: set[str] = {entry.code}
    waiting = list(entry.code_system.parents[entry.code])
    while waiting:
        next_level: list[str] = []
        for code in waiting:
            if (entry.system, code) in present and code != entry.code:
                return entry.system, code
            if code not in seen:
                seen.add(code)
                next_level += entry.code_system.parents.get(code, ())
        waiting = next_level
    return None
