"""The subjects of hooks: what a request writes, searches for, or asks a plugin to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fhirstore.model.conditions import Condition
from fhirstore.model.context import RequestContext
from fhirstore.model.issues import Issue
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.queries import Query, SearchEntry
from fhirstore.model.stored import Guard, Record, RecordGuard, Stored

if TYPE_CHECKING:
    from fhirstore.plugins.context import PluginContext


@dataclass(slots=True)
class Write:
    """A write before it is stored.

    interaction: create, update or delete; validate for `$validate` without a mode, which checks a resource as it is
    and must not correct it. resource: the parsed body, None for a deletion; numbers with a fraction are Decimal. Only
    `before_validate` may change it. id: the id that the resource will have. previous: the current version, None if
    there is none. query: the criteria of a conditional interaction ("identifier=…"), None for others.
    location_without_version: the Location header is [base]/Type/id, without the version. unique: keys that no other
    live resource may have; `validate` and `before_commit` may append to it. records: records of plugins to store in
    the same commit. base: the configured base of absolute URLs, without a trailing slash; None if each request has its
    own. issues: issues of severity information for the response, added by `before_commit` or to an additional write.
    """

    interaction: str
    type: str
    id: str
    resource: dict[str, Any] | None
    previous: Stored | None = None
    query: str | None = None
    location_without_version: bool = False
    unique: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    base: str | None = None
    issues: list[Issue] = field(default_factory=list)

    def with_resource(self, resource: dict[str, Any]) -> Write:
        """The same write with another resource, for `PendingCommit.additional_writes`."""
        return Write(self.interaction, self.type, self.id, resource, self.previous, self.query)


@dataclass(slots=True)
class PendingCommit:
    """Writes that are about to be stored together: one write, those of a transaction, or a group of `fhirstore load`.
    Writes that change nothing are not included.

    writes: validated writes; plugins must not change them. additional_writes: writes that a plugin adds, such as
    `Write("update", "Slot", id, resource, previous)`. They are normalised, validated and indexed like others. An
    additional write of a resource that `writes` contains replaces that write. records: records of plugins. guards:
    conditions that must hold when the commit is stored; if one does not hold, or if the `previous` of a write is not
    current any more, the commit is planned again and the hooks are called again.
    """

    writes: tuple[Write, ...]
    additional_writes: list[Write] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    guards: list[Guard | RecordGuard] = field(default_factory=list)

    def written(self, type: str, id: str) -> Write | None:
        """The write of this resource among `writes`; None if there is none."""
        return next((w for w in self.writes if (w.type, w.id) == (type, id)), None)

    def add(self, *entries: Record | Guard | RecordGuard) -> None:
        """Adds records and guards, such as those that enqueue a job (`PluginJobs.enqueue`)."""
        for entry in entries:
            if isinstance(entry, Record):
                self.records.append(entry)
            else:
                self.guards.append(entry)


@dataclass(slots=True)
class ConditionalCriteria:
    """The criteria of a conditional create, update or delete: https://hl7.org/fhir/R4/http.html#cond-update.

    params: the decoded parameters of the query string, in order; a plugin may change the list in place. resource: the
    parsed body, None for a deletion."""

    type: str
    params: list[tuple[str, str]]
    resource: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ConditionalMatch:
    """How a conditional interaction treats its criteria.

    where: replaces the condition that the criteria express; None keeps it. ignore_body_id: the id in the body is
    neither compared with the match nor adopted. prefer: if several resources match, the only one among them that
    satisfies this condition is taken; the response is 412 if no resource or several resources satisfy it."""

    where: Condition | None = None
    ignore_body_id: bool = False
    prefer: Condition | None = None


@dataclass(slots=True)
class SearchResponse:
    """The response to a search before it is serialized.

    entries: matches and included resources. total: Bundle.total, None to leave it out. profile: Bundle.meta.profile.
    outcome: issues for an entry of mode outcome. The Bundle has no next link if `query.count` is None."""

    query: Query
    entries: list[SearchEntry]
    total: int | None
    profile: str | None = None
    outcome: list[Issue] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The parts of an HTTP request that hooks may see.

    headers: a mapping that ignores case. environ: the WSGI environment; "fhirstore.client" has the accepted client
    certificate (common_name, units)."""

    method: str
    path: str
    query_string: str = field(repr=False)
    headers: Any = field(repr=False)
    environ: dict[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """A call of an operation. Its parameters are checked against the OperationDefinition.

    operation: the name without "$". type, id: None at the system level; id None at the type level. arguments: name ->
    values in the order sent. A value is a plain JSON value (str, bool, int, Decimal, dict for complex types and
    resources), a pair (FHIR type, value) if the definition allows several types, or a mapping of the same form for a
    parameter with parts. base: the base of absolute URLs."""

    operation: str
    type: str | None
    id: str | None
    arguments: Mapping[str, list[Any]]
    base: str
    request: RequestContext = field(default_factory=RequestContext)

    def one(self, name: str) -> Any:
        """The first value of a parameter; None if it was not sent."""
        values = self.arguments.get(name)
        return values[0] if values else None

    def many(self, name: str) -> list[Any]:
        """All values of a parameter."""
        return list(self.arguments.get(name, ()))


@dataclass(frozen=True, slots=True)
class PluginOperation:
    """The function of an OperationDefinition: https://hl7.org/fhir/R4/operations.html.

    definition: canonical of the definition, of R4 or of a loaded package. run: returns a resource (for the only out
    parameter `return`, or a complete Parameters), or a mapping from names of out parameters to a value or a list of
    values, in the form of `OperationRequest.arguments`; None for an empty response (204). It raises `FhirError` to
    refuse the call. affects_state: applies if the definition does not say it; GET is allowed if it is False."""

    definition: str
    run: Callable[[OperationRequest, PluginContext], Mapping[str, Any] | None]
    affects_state: bool = True


Validator = Callable[[Any, Sequence[ProfileRequirement]], list[Issue]]
"""Validates a resource, given as parsed JSON, against R4 and against each required profile; returns the issues."""
