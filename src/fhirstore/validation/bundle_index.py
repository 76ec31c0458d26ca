"""https://hl7.org/fhir/R4/bundle.html#references: the targets of references in a Bundle."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

Resource = dict[str, Any]

_ID = r"[A-Za-z0-9\-.]{1,64}"
RESTFUL = re.compile(rf"(https?://\S+/|)([A-Z][A-Za-z]+/{_ID})(?:/_history/({_ID}))?")
"""The base ("" if the reference is relative), "Type/id", and the version."""


class BundleEntry(NamedTuple):
    """number: its position in the Bundle. url: its fullUrl."""

    number: int
    url: str | None
    resource: Resource

    @property
    def name(self) -> str:
        """ "Type/id" """
        return f"{self.resource.get('resourceType')}/{self.resource.get('id')}"

    @property
    def version(self) -> Any:
        meta = self.resource.get("meta")
        return meta.get("versionId") if type(meta) is dict else None

    @property
    def path(self) -> str:
        """FHIRPath below the Bundle."""
        return f".entry[{self.number}]"


class BundleIndex:
    """The entries of a Bundle that have a resource, by fullUrl and by "Type/id". Malformed entries are left out."""

    def __init__(self, bundle: Resource):
        self.entries: list[BundleEntry] = []
        self.by_url: dict[str, list[BundleEntry]] = {}
        self.by_name: dict[str, list[BundleEntry]] = {}
        self._of_resource: dict[int, BundleEntry] = {}
        entries = bundle.get("entry")
        for number, one in enumerate(entries if type(entries) is list else ()):
            resource = one.get("resource") if type(one) is dict else None
            if type(resource) is not dict:
                continue
            url = one.get("fullUrl")
            entry = BundleEntry(number, url if type(url) is str else None, resource)
            self.entries.append(entry)
            self._of_resource[id(resource)] = entry
            self.by_name.setdefault(entry.name, []).append(entry)
            if entry.url is not None:
                self.by_url.setdefault(entry.url, []).append(entry)

    def find(self, reference: str, source: Resource) -> Resource | None:
        """The target of `reference`; without a matching fullUrl, the first resource with its type and id.

        source: the resource that contains the reference."""
        found = self.find_entry(reference, self._of_resource.get(id(source)))
        if found is not None:
            return found.resource
        match = RESTFUL.fullmatch(reference.partition("#")[0])
        if match is None or match[1]:
            return None
        return next((entry.resource for entry in self.by_name.get(match[2], ())), None)

    def find_entry(self, reference: str, source: BundleEntry | None) -> BundleEntry | None:
        """The entry that a reference in an entry refers to. An entry without a fullUrl is found by its type and id."""
        url = reference.partition("#")[0]
        if url in self.by_url:
            return self.by_url[url][0]
        match = RESTFUL.fullmatch(url)
        if match is None:
            return None
        base, name, version = match.groups()
        if not base and source is not None:
            of_source = RESTFUL.fullmatch(source.url or "")
            base = of_source[1] if of_source is not None else ""
        candidates = self.by_url.get(base + name) or [e for e in self.by_name.get(name, ()) if e.url is None]
        return next((e for e in candidates if version is None or e.version in (None, version)), None)
