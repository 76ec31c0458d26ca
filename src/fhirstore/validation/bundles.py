"""https://hl7.org/fhir/R4/bundle.html: the entries of a Bundle, and the references between them.

Each resource occurs once (https://hl7.org/fhir/R4/bundle.html#bundle-unique). References to URNs must resolve in the
Bundle. The references of the Composition of a document (https://hl7.org/fhir/R4/documents.html#content), and the focus
of the MessageHeader of a message, must resolve in the Bundle. Each entry of a document or message must be connected
with the first one by references. Severities are those of the reference validator (org.hl7.fhir.core).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import MAX_ISSUES, IssueList, RelativeIssue
from fhirstore.validation.text import describe

Resource = Mapping[str, Any]

_ID = r"[A-Za-z0-9\-.]{1,64}"
_RESTFUL = re.compile(rf"(https?://\S+/|)([A-Z][A-Za-z]+/{_ID})(?:/_history/({_ID}))?")
_DISTINCT = frozenset({"document", "message", "searchset", "collection"})
"""The types of Bundles in which a resource occurs once. Entries of the others are requests and responses."""
_BACKWARD = frozenset({"Provenance"})
"""Types whose resources refer to the content of a document without being referred to."""
_REQUIRED_TARGETS: Mapping[str, tuple[str, ...]] = {
    "Composition": ("subject", "author", "encounter", "custodian", "attester.party", "event.detail"),
    "MessageHeader": ("focus",),
}
_OF_SECTION = ("author", "focus", "entry")


class _Entry(NamedTuple):
    number: int
    url: str | None
    resource: Resource

    @property
    def name(self) -> str:
        """ "Type/id" """
        return f"{self.resource.get('resourceType')}/{self.resource.get('id')}"

    @property
    def version(self) -> Any:
        return self.resource.get("meta", {}).get("versionId")

    @property
    def path(self) -> str:
        return f".entry[{self.number}]"


def check_entries(bundle: Resource) -> IssueList | None:
    """The issues of the entries of a Bundle that is otherwise valid."""
    entries = [
        _Entry(number, entry.get("fullUrl"), entry["resource"])
        for number, entry in enumerate(bundle.get("entry", ()))
        if "resource" in entry
    ]
    kind = bundle.get("type")
    found = IssueList()
    if kind != "history":
        found.errors += _same_urls(entries)
    if kind in _DISTINCT:
        found.errors += _same_ids(entries)
    index = _Index(entries)
    if kind in ("document", "message") and entries and entries[0].number == 0:
        found.errors += _unresolved(entries[0], index)
        part = _unreachable(bundle, entries, index)
        (found.errors if kind == "document" else found.warnings).extend(part.errors)
        found.warnings += part.warnings
    known = {issue.path for issue in found.errors}
    more = (issue for issue in _unresolved_urns(entries, index) if issue.path not in known)
    found.warnings += islice(more, MAX_ISSUES + 1)
    return found if found.errors or found.warnings else None


# --- unique entries -----------------------------------------------------------------------------------


def _same_urls(entries: list[_Entry]) -> Iterator[RelativeIssue]:
    """bdl-7"""
    first: dict[tuple[str, Any], int] = {}
    for entry in entries:
        if entry.url is None:
            continue
        other = first.setdefault((entry.url, entry.version), entry.number)
        if other != entry.number:
            text = Message(
                "bdl-7: {url} is also the fullUrl of entry[{other}]; a fullUrl must be unique in a "
                "Bundle unless the resources have different meta.versionId [constraint bdl-7 of "
                "Bundle]",
                url=describe(entry.url),
                other=other,
            )
            yield RelativeIssue("invariant", text, f"{entry.path}.fullUrl", "bdl-7")


def _same_ids(entries: list[_Entry]) -> Iterator[RelativeIssue]:
    """Resources of one type and id, unless their versions or the servers in their fullUrls differ."""
    first: dict[tuple[str, str, Any], _Entry] = {}
    for entry in entries:
        if "id" not in entry.resource:
            continue
        match = _RESTFUL.fullmatch(entry.url or "")
        base = match[1] if match is not None and match[2] == entry.name else ""
        other = first.setdefault((base, entry.name, entry.version), entry)
        if other is not entry and (entry.url is None or entry.url != other.url):
            text = Message(
                "entry[{other}] is {name} too; a resource occurs once in a Bundle, unless the entries have different "
                "meta.versionId",
                other=other.number,
                name=entry.name,
            )
            yield RelativeIssue("duplicate", text, f"{entry.path}.resource.id", "duplicate-entry")


# --- references ---------------------------------------------------------------------------------------


class _Index:
    """The entries by fullUrl and by "Type/id"."""

    def __init__(self, entries: list[_Entry]):
        self.by_url: dict[str, list[_Entry]] = {}
        self.by_name: dict[str, list[_Entry]] = {}
        for entry in entries:
            self.by_name.setdefault(entry.name, []).append(entry)
            if entry.url is not None:
                self.by_url.setdefault(entry.url, []).append(entry)

    def find(self, reference: str, source: _Entry) -> _Entry | None:
        """https://hl7.org/fhir/R4/bundle.html#references: the entry that a reference in an entry refers to.

        An entry without a fullUrl is found by its type and id."""
        url = reference.partition("#")[0]
        if url in self.by_url:
            return self.by_url[url][-1]
        match = _RESTFUL.fullmatch(url)
        if match is None:
            return None
        base, name, version = match.groups()
        if not base:
            of_source = _RESTFUL.fullmatch(source.url or "")
            base = of_source[1] if of_source is not None else ""
        candidates = self.by_url.get(base + name) or [e for e in self.by_name.get(name, ()) if e.url is None]
        return next((e for e in candidates if version is None or e.version in (None, version)), None)


def _references(value: Any) -> Iterator[str]:
    """The references in a resource to other resources. Those of a nested Bundle belong to it."""
    if type(value) is dict:
        text = value.get("reference")
        if type(text) is str and text[:1] != "#":
            yield text
        for item in value.values():
            if type(item) is list or (type(item) is dict and item.get("resourceType") != "Bundle"):
                yield from _references(item)
    elif type(value) is list:
        for item in value:
            if type(item) is dict:
                yield from _references(item)


def _path_of(value: Any, reference: str) -> str | None:
    """The FHIRPath of the first Reference with this text below a value."""
    if type(value) is dict:
        if value.get("reference") == reference:
            return ".reference"
        found = ((f".{key}", _path_of(item, reference)) for key, item in value.items())
    elif type(value) is list:
        found = ((f"[{index}]", _path_of(item, reference)) for index, item in enumerate(value))
    else:
        return None
    return next((segment + path for segment, path in found if path is not None), None)


def _unresolved_urns(entries: list[_Entry], index: _Index) -> Iterator[RelativeIssue]:
    """The references to URNs, which nothing outside of the Bundle can resolve."""
    for entry in entries:
        for text in dict.fromkeys(_references(entry.resource)):
            if text.startswith(("urn:uuid:", "urn:oid:")) and index.find(text, entry) is None:
                path = f"{entry.path}.resource{_path_of(entry.resource, text) or ''}"
                error = Message("{reference} is not the fullUrl of an entry of this Bundle", reference=describe(text))
                yield RelativeIssue("not-found", error, path, "unresolved-reference")


def _unresolved(first: _Entry, index: _Index) -> Iterator[RelativeIssue]:
    """The required references of the first entry of a document or message that do not resolve."""
    name = str(first.resource.get("resourceType"))
    for path, reference in _required_references(first.resource, name):
        text = reference.get("reference")
        if type(text) is not str or text[:1] == "#" or index.find(text, first) is not None:
            continue
        match = _RESTFUL.fullmatch(text)
        hint: str = ""
        if match is not None and (similar := index.by_name.get(match[2])):
            hint = Message(
                "; entry[{index}] has this type and id, but its fullUrl {url} does not match",
                index=similar[0].number,
                url=describe(similar[0].url),
            )
        error = Message("{reference} is not in this Bundle{hint}", reference=describe(text), hint=hint)
        yield RelativeIssue("not-found", error, f"{first.path}.resource{path}.reference", "unresolved-reference")


def _required_references(resource: Resource, name: str) -> Iterator[tuple[str, Resource]]:
    """(FHIRPath, Reference)"""
    for path in _REQUIRED_TARGETS.get(name, ()):
        yield from _values(resource, path.split("."))
    if name == "Composition":
        yield from _section_references(resource, "")


def _section_references(parent: Resource, path: str) -> Iterator[tuple[str, Resource]]:
    for index, section in enumerate(parent.get("section", ())):
        here = f"{path}.section[{index}]"
        for name in _OF_SECTION:
            yield from ((here + below, value) for below, value in _values(section, [name]))
        yield from _section_references(section, here)


def _values(value: Resource, names: list[str]) -> Iterator[tuple[str, Resource]]:
    """(FHIRPath, object) of the objects at a path."""
    if not names:
        yield "", value
        return
    found = value.get(names[0])
    items = enumerate(found) if type(found) is list else ((None, found),) if found is not None else ()
    for index, item in items:
        segment = f".{names[0]}" if index is None else f".{names[0]}[{index}]"
        yield from ((segment + path, one) for path, one in _values(item, names[1:]))


# --- connected entries --------------------------------------------------------------------------------


def _unreachable(bundle: Resource, entries: list[_Entry], index: _Index) -> IssueList:
    """The entries to which no chain of references leads from the first one: as an error if none leads back either, as
    a warning otherwise."""
    targets = {entry.number: _targets(entry, index) for entry in entries}
    styles = {link.get("url") for link in bundle.get("link", ()) if link.get("relation") == "stylesheet"}
    start = {0, *(e.number for e in entries if e.name in styles)}
    forward = _connected(start, targets)
    both: dict[int, set[int]] = {index: set(others) for index, others in targets.items()}
    for one, others in targets.items():
        for other in others:
            both[other].add(one)
    connected = _connected(forward, both)
    first = entries[0].name
    found = IssueList()
    for entry in entries:
        if entry.number not in connected:
            text = Message("no reference leads to {name} from {first}, or back", name=entry.name, first=first)
            found.errors.append(RelativeIssue("invalid", text, entry.path, "unreachable-entry"))
        elif entry.number not in forward and entry.resource.get("resourceType") not in _BACKWARD:
            text = Message(
                "no reference leads to {name} from {first}; only Provenance may refer to the content in this way",
                name=entry.name,
                first=first,
            )
            found.warnings.append(RelativeIssue("invalid", text, entry.path, "unreachable-entry"))
    return found


def _targets(entry: _Entry, index: _Index) -> set[int]:
    """The indexes of the entries that an entry refers to, by any rule."""
    found = set()
    for text in _references(entry.resource):
        target = index.find(text, entry)
        match = _RESTFUL.fullmatch(text) if target is None else None
        for one in [target] if target is not None else index.by_name.get(match[2], ()) if match is not None else ():
            found.add(one.number)
    for text in _texts(entry.resource):
        found.update(one.number for one in index.by_url.get(text, ()))
    return found - {entry.number}


def _texts(value: Any) -> Iterator[str]:
    """All strings in a JSON value; some have the type url or uri."""
    if type(value) is str:
        yield value
    elif type(value) is dict:
        for item in value.values():
            yield from _texts(item)
    elif type(value) is list:
        for item in value:
            yield from _texts(item)


def _connected(start: Iterable[int], targets: Mapping[int, set[int]]) -> set[int]:
    """The entries that can be reached."""
    found: set[int] = set()
    waiting = list(start)
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += targets[one]
    return found
