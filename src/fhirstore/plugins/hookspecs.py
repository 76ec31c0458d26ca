"""All extension points of fhirstore, one function each (pluggy hook specifications).

A plugin is a FHIR package plus, optionally, an object (usually a module) with some of these functions decorated
with `fhirstore.plugins.hookimpl`. A plugin imports from `fhirstore.plugins` and `fhirstore.errors` only.
Where a hook says "first result", the first plugin that answers something other than None decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from fhirstore.errors import Issue
from fhirstore.model.conditions import Condition
from fhirstore.model.context import InteractionSummary, Principal, RequestContext
from fhirstore.model.indexing import CompoundIndex
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.queries import SearchEntry
from fhirstore.model.stored import (
    Guard,
    Record,
    RecordGuard,
    Stored,
)
from fhirstore.plugins.operator import Metric, OperatorPage
from fhirstore.store.protocol import Store

if TYPE_CHECKING:
    import threading

    import click

    from fhirstore.capability.registry import Registry
    from fhirstore.model.queries import Query

hookspec = pluggy.HookspecMarker("fhirstore")
hookimpl = pluggy.HookimplMarker("fhirstore")


# --- what hooks are given ------------------------------------------------------------------------


@dataclass(slots=True)
class Write:
    """A write on its way to the store.

    interaction: create | update | delete; validate for `$validate` without mode, which judges a resource as it is, so
    that faults are not to be corrected. resource: the parsed body, None for deletions; hooks of `before_validate`
    may change it in place (numbers with a fraction are Decimal). id: the id it will have. previous: the current
    version, None when there is none. query: the criteria of a conditional interaction ("identifier=…"), else None.
    location_without_version: set by a plugin whose clients expect Location to be [base]/<Type>/<id>.
    unique: keys that no other live resource may hold; a plugin appends to it in `validate` or `before_commit`.
    records: a plugin's private rows to store in the same commit. notes: informations for the answer, added
    in `before_commit` or with a further write. base: that of this deployment's absolute URLs, without a slash at its
    end; None = each request has its own.
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
    notes: list[Issue] = field(default_factory=list)

    def with_resource(self, resource: dict[str, Any]) -> Write:
        """The same write with another resource, for `PendingCommit.additional_writes`."""
        return Write(self.interaction, self.type, self.id, resource, self.previous, self.query)


@dataclass(slots=True)
class PendingCommit:
    """What is about to be stored at once: one write, those of a transaction, or a group of `fhirstore load`; without
    those that change nothing.

    writes: validated, not to be changed.
    further: writes that a plugin adds (`Write("update", "Slot", id, resource, previous)`); they are normalised,
    validated and indexed as any other, and without them nothing is stored. previous is the version just read, so that
    all is planned again when it changes meanwhile. One of a resource that `writes` has too takes its place.
    records, guards: go with the commit; a guard that does not hold has all planned again, too.
    """

    writes: tuple[Write, ...]
    additional_writes: list[Write] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    guards: list[Guard | RecordGuard] = field(default_factory=list)

    def written(self, type: str, id: str) -> Write | None:
        """The write of this resource among `writes`; None = there is none."""
        return next((w for w in self.writes if (w.type, w.id) == (type, id)), None)


@dataclass(frozen=True, slots=True)
class ConditionalMatch:
    """How a conditional create, update or delete treats its criteria.

    where: replaces the condition read from the criteria. ignore_body_id: the id in the body is neither compared
    with the match nor adopted. prefer: of several matches take the only one that satisfies this condition, if it
    is exactly one; else 412 as usual."""

    where: Condition | None = None
    ignore_body_id: bool = False
    prefer: Condition | None = None


@dataclass(slots=True)
class SearchResponse:
    """A search answer before it is written out. total None = left out. profile: Bundle.meta.profile.
    Where query.count is None (everything on one page) only a self link is written."""

    query: Query
    entries: list[SearchEntry]
    total: int | None
    profile: str | None = None
    outcome: list[Issue] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The parts of an HTTP request that hooks may see. environ is the WSGI environment; under "fhirstore.client" it has
    the client whose certificate was admitted (common_name, units)."""

    method: str
    path: str
    query_string: str
    headers: Any
    environ: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """An operation that was asked for, its parameters checked against the OperationDefinition.

    operation: its name without "$". type and id: where it was asked for; both None = the system level, id None = the
    type level. arguments: name -> values in the order given; a value is the plain JSON value (str, bool, int, Decimal,
    dict for complex types and resources), a (FHIR type, value) pair where the definition allows several types, or such
    a mapping again for a parameter with parts. base: that of absolute URLs."""

    operation: str
    type: str | None
    id: str | None
    arguments: Mapping[str, list[Any]]
    base: str
    registry: Registry
    store: Store
    request: RequestContext = field(default_factory=RequestContext)

    def one(self, name: str) -> Any:
        """The first value of a parameter, None when it was not given."""
        values = self.arguments.get(name)
        return values[0] if values else None

    def many(self, name: str) -> list[Any]:
        """All values of a parameter."""
        return list(self.arguments.get(name, ()))


@dataclass(frozen=True, slots=True)
class PluginOperation:
    """A function that does what an OperationDefinition says (https://hl7.org/fhir/R4/operations.html).

    definition: its canonical, of R4 or of a loaded package. run: answers a resource (for the only out parameter
    `return`, or a finished Parameters), or a mapping from the names of out parameters to a value or a list of values,
    of the same forms as `OperationRequest.arguments`; None = nothing to say (204). Raise `FhirError` to refuse.
    affects_state: counts where the definition does not say; what affects no state can be asked for with GET too."""

    definition: str
    run: Callable[[OperationRequest], Mapping[str, Any] | None]
    affects_state: bool = True


@dataclass(frozen=True, slots=True)
class PluginOption:
    """What can be set of a plugin. name: without that of the plugin. values: those it may have, the default first; () =
    any text. default: of a text; "" = not set. check: raises ValueError for a text that cannot be, and the message says
    what is wanted ("a number of seconds"); the default is not checked."""

    name: str
    values: tuple[str, ...] = ()
    default: str = ""
    check: Callable[[str], object] | None = None


Validator = Callable[[Any, Sequence[ProfileRequirement]], list[Issue]]
"""The issues of a resource, given as parsed JSON: those of R4, then those of each profile that is demanded."""


# --- declare ----------------------------------------------------------------------------------------


@hookspec
def packages() -> Iterable[str]:  # type: ignore[empty-body]
    """Folders or .tgz files of FHIR packages that this plugin brings (paths)."""


@hookspec
def indexes() -> Iterable[CompoundIndex]:  # type: ignore[empty-body]
    """Compound indexes for the searches this plugin cares about."""


@hookspec
def operations() -> Iterable[PluginOperation]:  # type: ignore[empty-body]
    """Operations that this plugin can do; they are served where a statement declares them. Those that a package
    defines need no declaration: they are served on each served type that the definition names, and at the system
    level if one of them is served."""


@hookspec
def options() -> Iterable[PluginOption]:  # type: ignore[empty-body]
    """What can be set of this plugin in the setting `plugin_options`, as PLUGIN.NAME=VALUE."""


@hookspec
def translations() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Texts of this plugin's issues in other languages: language ("fr") -> path of a catalogue, in the format of
    fhirstore's own (messages/fr.txt; docs/plugins.md)."""


@hookspec
def check_options(options: Mapping[str, str]) -> None:
    """At start: raise `StartupError` where options ("PLUGIN.NAME" -> value) do not go together."""


# --- write ------------------------------------------------------------------------------------------


@hookspec
def before_validate(write: Write, options: Mapping[str, str]) -> Iterable[Issue] | None:
    """May normalise `write.resource` in place; returns informations and warnings about what it changed.
    Raise `FhirError` to refuse. options: of all plugins, "PLUGIN.NAME" -> value."""


@hookspec
def profiles(write: Write, demands: list[ProfileRequirement], registry: Registry, options: Mapping[str, str]) -> None:
    """Which profiles the resource is checked against: `demands` holds those that the statement and the resource itself
    name. May add, replace and remove some in place, by content. options: as in `before_validate`."""


@hookspec
def validate(
    write: Write, demands: Sequence[ProfileRequirement], registry: Registry, options: Mapping[str, str]
) -> Iterable[Issue] | None:
    """Further rules; errors refuse the write with 422. demands: the profiles that the resource is checked against, each
    with its policy; none where validation is off. options: as in `before_validate`."""


@hookspec
def before_commit(write: Write, store: Store, registry: Registry, options: Mapping[str, str]) -> None:
    """The last word on one write: may read the store, add unique keys and records. Called again when the commit has to
    be repeated because the store changed meanwhile; and, though nothing is stored then, for `$validate` with a mode."""


@hookspec
def complete_commit(commit: PendingCommit, store: Store, registry: Registry, options: Mapping[str, str]) -> None:
    """The last word on all that is stored at once: may read the store, and add further writes, records and guards.
    Raise `FhirError` to refuse. Called as often as `before_commit`."""


@hookspec
def after_commit(stored: Sequence[Stored]) -> None:
    """The versions just stored, after they are durable. Errors are logged and change nothing."""


# --- read -------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def rewrite_search(query: Query, registry: Registry, options: Mapping[str, str]) -> Query | None:
    """May replace a search before it runs (a changed copy), or refuse it (`FhirError`); first result. options: as in
    `before_validate`."""


@hookspec(firstresult=True)
def conditional_match(
    type: str, params: list[tuple[str, str]], resource: dict[str, Any] | None, registry: Registry
) -> ConditionalMatch | None:
    """How the criteria `params` of a conditional write on `type` are to be treated; may change `params` in place.
    resource: the parsed body, None for a deletion; first result."""


@hookspec
def before_return(answer: SearchResponse, registry: Registry) -> None:
    """May change a search answer in place before it is written out."""


# --- more -------------------------------------------------------------------------------------------


@hookspec
def cli(
    group: click.Group,
    validator: Callable[[], Validator],
    with_deployment: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Adds commands to the command line. validator: makes the validator of this deployment's definitions (those of R4,
    of the plugins and of the installed packages); it takes a second, so call it where it is needed. with_deployment:
    a decorator, below `@group.command`, that adds --config, --store and --plugin and hands over a `deployment`."""


@hookspec
def background(store: Store, options: Mapping[str, str], stop: threading.Event) -> None:
    """Work that goes on beside the requests, in one process of each server: runs until `stop` is set, returns then
    within a second or is left behind. What it raises is logged, and it is called again. Several servers may run on one
    store: a record with a `RecordGuard` tells whose turn it is. Returns at once where there is nothing to do."""


@hookspec
def metrics(store: Store, options: Mapping[str, str]) -> Iterable[Metric]:  # type: ignore[empty-body]
    """Numbers for `/metrics`, read from the store when they are asked for."""


@hookspec
def pages(options: Mapping[str, str]) -> Iterable[OperatorPage]:  # type: ignore[empty-body]
    """At start: pages for those who run the server, which the setting `operator_pages` shows them."""


@hookspec
def demo() -> Iterable[dict[str, Any]] | None:
    """Resources for `fhirstore demo`, referenced ones first; each with an id."""


@hookspec
def demo_queries(base: str) -> Iterable[tuple[str, str]] | None:
    """(title, URL) of sample queries that the demo data answers."""


@hookspec
def health(store: Store) -> Iterable[Issue] | None:
    """Reasons why this plugin is not ready; an error makes /health/ready answer 503."""


@hookspec(firstresult=True)
def authenticate(request: HttpRequest) -> Principal | None:
    """Who asks; raise `FhirError` with status 401 to refuse; first result."""


@hookspec
def authorize(request: RequestContext, interaction: InteractionSummary) -> None:
    """Raise `FhirError` with status 403 to refuse an interaction to `request.principal`.

    A batch or transaction is authorized under the name transaction, and then each of its entries under its own."""


@hookspec
def audit(request: RequestContext, interaction: InteractionSummary, status: int, seconds: float) -> None:
    """Called after each response, and for each entry of a batch or transaction. interaction.name: empty if the request
    was refused before its interaction was known. status: of the response. seconds: how long it took."""
