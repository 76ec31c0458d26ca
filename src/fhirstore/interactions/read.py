"""https://hl7.org/fhir/R4/http.html#read, with conditional read (#cread), `_summary` and `_elements`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Self

from fhirstore.errors import error
from fhirstore.formats.json import compose
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.server import Server
from fhirstore.interactions.subset import Subset
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Interaction):
    """The current version of a resource. if_none_match, if_modified_since: as in `RestRequest`."""

    code: ClassVar[str] = "read"

    type: str
    id: str
    subset: Subset | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since: str | None = None

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        if not rest.parameters and rest.if_none_match is None and rest.if_modified_since is None:
            return cls(**path)
        return cls(
            **path,
            subset=Subset.requested(rest),
            if_none_match=rest.if_none_match,
            if_modified_since=rest.if_modified_since,
        )

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises 404 if the resource never existed, 410 if it is deleted."""
        return self.result(server, current_version(server, self.type, self.id))

    def result(self, server: Server, stored: Stored) -> Result:
        """The version, or 304 if the client has it already."""
        if self._is_unchanged(stored):
            return Result(304, stored)
        return Result(200, stored, self.subset.of(server, compose(stored)) if self.subset is not None else None)

    def _is_unchanged(self, stored: Stored) -> bool:
        if self.if_none_match is not None:
            return "*" in self.if_none_match or str(stored.version) in self.if_none_match
        if self.if_modified_since is None:
            return False
        try:
            return stored.updated // 1_000_000 <= int(parsedate_to_datetime(self.if_modified_since).timestamp())
        except (ValueError, OverflowError):
            return False


def current_version(server: Server, type: str, id: str) -> Stored:
    """The current version. Raises 404 if there never was one, 410 if the resource is deleted."""
    stored = server.store.read(type, id)
    if stored is None:
        raise error(404, "not-found", Message("{type}/{id} does not exist.", type=type, id=id[:80]))
    return not_deleted(stored)


def not_deleted(stored: Stored) -> Stored:
    """The version. Raises 410 if it is a deletion."""
    if stored.deleted:
        text = Message(
            "{ref} was deleted (version {version}). Its history has the earlier versions.",
            ref=stored.ref,
            version=stored.version,
        )
        raise error(410, "deleted", text, headers={"ETag": f'W/"{stored.version}"'})
    return stored
