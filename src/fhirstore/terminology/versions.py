"""https://hl7.org/fhir/R4/valueset-operation-expand.html: which versions of code systems a request wants."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhirstore.terminology.model import Unresolved


def by_url(canonicals: Iterable[str]) -> Mapping[str, str]:
    """url -> version of canonicals with a version."""
    return {url: version for url, _, version in (c.partition("|") for c in canonicals) if version}


@dataclass(frozen=True, slots=True)
class Versions:
    """By url of a code system. default: where the value set names none. check: any other is refused. force: in place
    of what the value set names."""

    default: Mapping[str, str] = field(default_factory=dict)
    check: Mapping[str, str] = field(default_factory=dict)
    force: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.default or self.check or self.force)

    def of(self, url: str, named: str) -> str:
        """The version to use of a code system, "" = any. named: what the value set says. Raises Unresolved."""
        version = self.force.get(url) or named or self.default.get(url, "")
        wanted = self.check.get(url)
        if wanted and version not in ("", wanted):
            text = f"the value set uses version {version} of {url}, but check-system-version wants {wanted}"
            raise Unresolved(text, "invalid")
        return wanted or version


ANY = Versions()
