"""https://hl7.org/fhir/R4/codesystem.html#supplements: code systems that add properties to the codes of another one.

A supplement defines no codes: a coding has the system and a code of the code system that is supplemented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fhirstore.model.messages import Message
from fhirstore.terminology.code_systems import CodeSystem
from fhirstore.terminology.model import Resource, TerminologyResource, Unresolved


class Supplements:
    """The supplements of code systems. Invalid ones are left out.

    code_system: the code system with a canonical, None if it is unavailable or only a supplement has this url."""

    def __init__(self, resources: Iterable[TerminologyResource], code_system: Callable[[str], CodeSystem | None]):
        self._code_system = code_system
        self._urls: set[str] = set()
        self._codes: dict[str, dict[str, str]] = {}
        for resource in (_load(found) for found in resources):
            url, base = resource.get("url"), resource.get("supplements")
            if isinstance(url, str):
                self._urls.add(url)
            if isinstance(base, str):
                codes = self._codes.setdefault(base.partition("|")[0], {})
                codes.update(dict.fromkeys(_codes(resource), str(url)))

    def misuse(self, system: str, code: str) -> tuple[str, Message] | None:
        """Why a coding is wrong, and the element that is: (element, message). None if no supplement is concerned."""
        if system in self._urls and self._available(system) is None:
            text = Message("{system} is a supplement; a coding has the system that it supplements", system=system)
            return "system", text
        supplement = self._codes.get(system, {}).get(code)
        base = self._available(system) if supplement is not None else None
        if supplement is None or base is None or not base.is_complete or base.find(code) is not None:
            return None
        text = Message(
            "{system} has no code {code}; only the supplement {supplement} mentions it",
            system=system,
            code=repr(code[:60]),
            supplement=supplement,
        )
        return "code", text

    def _available(self, system: str) -> CodeSystem | None:
        try:
            return self._code_system(system)
        except Unresolved:
            return None


def _load(found: TerminologyResource) -> Resource:
    try:
        return found.load()
    except Unresolved:  # deleted meanwhile
        return {}


def _codes(parent: Resource) -> Iterable[str]:
    for concept in parent.get("concept", ()):
        if isinstance(concept, dict):
            yield str(concept.get("code"))
            yield from _codes(concept)
