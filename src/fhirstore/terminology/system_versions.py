"""https://hl7.org/fhir/R4/valueset-operation-expand.html: the versions of code systems that a request asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fhirstore.model.messages import Message
from fhirstore.terminology.model import Unresolved


def versions_by_url(canonicals: Iterable[str]) -> Mapping[str, str]:
    """Maps url to version. Canonicals without a version are ignored."""
    return {url: version for url, _, version in (c.partition("|") for c in canonicals) if version}


@dataclass(frozen=True, slots=True)
class SystemVersions:
    """Versions by url of a code system, from the parameters of $expand.

    default (system-version): applies if the value set states no version. check (check-system-version): any other
    version is an error. force (force-system-version): replaces the version that the value set states."""

    default: Mapping[str, str] = field(default_factory=dict)
    check: Mapping[str, str] = field(default_factory=dict)
    force: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.default or self.check or self.force)

    def version_of(self, url: str, stated: str) -> str:
        """The version to use of a code system; "" means any. stated: the version in the value set, or "".

        Raises Unresolved if `check` requires another version."""
        version = self.force.get(url) or stated or self.default.get(url, "")
        required = self.check.get(url)
        if required and version not in ("", required):
            text = Message(
                "the value set uses version {version} of {url}, but check-system-version requires {required}",
                version=version,
                url=url,
                required=required,
            )
            raise Unresolved(text, "invalid")
        return required or version


ANY_VERSION = SystemVersions()
