"""Where a value stands while profiles are checked: its resource, what contains it, and the Bundle around it.

https://hl7.org/fhir/R4/references.html#contained and https://hl7.org/fhir/R4/bundle.html#references: a reference is
looked for among the contained resources and the entries of the Bundle; nothing else is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fhirstore.terminology.snapshot import TerminologySnapshot
from fhirstore.validation.findings import Findings

Resource = dict[str, Any]

_RESTFUL = re.compile(r"(https?://\S+/|)([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


class Entries:
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
        """What `reference`, made by the resource `source`, means in this Bundle."""
        url = reference.partition("#")[0]
        if url in self._by_url:
            return self._by_url[url]
        match = _RESTFUL.fullmatch(url)
        if match is None:
            return None
        if match[1]:
            return self._by_url.get(match[1] + match[2])
        around = _RESTFUL.fullmatch(self._url_of.get(id(source), ""))
        if around is not None and around[1] + match[2] in self._by_url:
            return self._by_url[around[1] + match[2]]
        return self._by_id.get(match[2])


class Scope:
    """resource: the one that the value is part of. root: the one that contains it, or itself. bundle: the entries
    around, None outside of a Bundle. terms: the terminology that is at hand. verdicts: (id of a resource, profile) ->
    whether it conforms. clean: (id of a value, profile) of those in which nothing at all was found. Both are shared by
    all scopes of one validation, while which no resource changes."""

    __slots__ = ("bundle", "clean", "resource", "root", "terms", "verdicts")

    def __init__(
        self,
        resource: Resource,
        terms: TerminologySnapshot,
        root: Resource | None = None,
        bundle: Entries | None = None,
        verdicts: dict[tuple[int, str], bool] | None = None,
        clean: set[tuple[int, str]] | None = None,
    ):
        self.resource = resource
        self.terms = terms
        self.root = resource if root is None else root
        self.verdicts: dict[tuple[int, str], bool] = {} if verdicts is None else verdicts
        self.clean: set[tuple[int, str]] = set() if clean is None else clean
        self.bundle = Entries(resource) if resource.get("resourceType") == "Bundle" else bundle

    def inner(self, resource: Resource) -> Scope:
        """The scope of a resource inside of this one: an entry of a Bundle, or contained."""
        contained = self.root.get("contained")
        is_contained = type(contained) is list and any(c is resource for c in contained)
        root = self.root if is_contained else None
        return Scope(resource, self.terms, root, self.bundle, self.verdicts, self.clean)

    def around(self, value: Any) -> Scope:
        """The scope of a value inside of this one: its own when it is a resource."""
        return self.inner(value) if type(value) is dict and "resourceType" in value else self

    def resolve(self, reference: str) -> tuple[str, Resource | None]:
        """("contained" | "bundled" | "referenced", what the reference points to, None when it is not at hand)."""
        if reference.startswith("#"):
            if reference == "#":
                return "contained", self.root
            contained = self.root.get("contained")
            for one in contained if type(contained) is list else ():
                if type(one) is dict and one.get("id") == reference[1:]:
                    return "contained", one
            return "contained", None
        found = self.bundle.find(reference, self.root) if self.bundle is not None else None
        return ("referenced", None) if found is None else ("bundled", found)


Rule = Callable[[Any, Scope], Findings | None]
"""Checks one value (of an element, or an object for one of its properties); None = all is well."""


def together(rules: list[Rule]) -> Rule | None:
    """One rule that applies them all."""
    if len(rules) < 2:
        return rules[0] if rules else None
    every = tuple(rules)

    def check(value: Any, scope: Scope) -> Findings | None:
        found: Findings | None = None
        for rule in every:
            part = rule(value, scope)
            if part is not None:
                if found is None:
                    found = part
                else:
                    found.absorb(part, "")
        return found

    return check
