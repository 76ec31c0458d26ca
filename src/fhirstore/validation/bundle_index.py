"""https://hl7.org/fhir/R4/bundle.html#references: the targets of references in a Bundle."""

from __future__ import annotations

import re
from typing import Any

Resource = dict[str, Any]

_RESTFUL = re.compile(r"(https?://\S+/|)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


class BundleIndex:
    """The resources of a Bundle by fullUrl and by "Type/id"."""

    def __init__(self, bundle: Resource):
        self._by_url: dict[str, Resource] = {}
        self._by_id: dict[str, Resource] = {}
        self._url_of: dict[int, str] = {}
        entries = bundle.get("entry")
        for entry in entries if type(entries) is list else ():
            resource = entry.get("resource") if type(entry) is dict else None
            if type(resource) is not dict:
                continue
            self._by_id.setdefault(f"{resource.get('resourceType')}/{resource.get('id')}", resource)
            url = entry.get("fullUrl")
            if type(url) is str:
                self._by_url.setdefault(url, resource)
                self._url_of[id(resource)] = url

    def find(self, reference: str, source: Resource) -> Resource | None:
        """The target of `reference` in this Bundle. source: the resource that contains the reference."""
        url = reference.partition("#")[0]
        if url in self._by_url:
            return self._by_url[url]
        match = _RESTFUL.fullmatch(url)
        if match is None:
            return None
        if match[1]:
            return self._by_url.get(match[1] + match[2])
        source_url = _RESTFUL.fullmatch(self._url_of.get(id(source), ""))
        if source_url is not None and source_url[1] + match[2] in self._by_url:
            return self._by_url[source_url[1] + match[2]]
        return self._by_id.get(match[2])
