"""The hooks of fhirstore: one function each (pluggy hook specifications). docs/plugins.md explains them.

A plugin is a FHIR package and, optionally, an object (usually a module) with some of these functions, decorated with
`fhirstore.plugins.hookimpl`. An implementation names only the arguments that it uses. `context` gives it the services
of the server, `request` the request that caused the call; commands call hooks with a request of their own. In hooks
marked "first result", the first plugin that returns something other than None decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from fhirstore.model.context import InteractionSummary, Principal, RequestContext
from fhirstore.model.indexing import CompoundIndex
from fhirstore.model.issues import Issue
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.queries import Query
from fhirstore.model.stored import Stored
from fhirstore.plugins.model import (
    ConditionalCriteria,
    ConditionalMatch,
    HttpRequest,
    PendingCommit,
    PluginOperation,
    SearchResponse,
    Validator,
    Write,
)
from fhirstore.plugins.operator import Metric, OperatorPage

if TYPE_CHECKING:
    import threading

    import click

    from fhirstore.jobs.handler import JobHandler
    from fhirstore.plugins.context import PluginContext

hookspec = pluggy.HookspecMarker("fhirstore")
hookimpl = pluggy.HookimplMarker("fhirstore")


# --- declare ----------------------------------------------------------------------------------------


@hookspec
def packages() -> Iterable[str]:  # type: ignore[empty-body]
    """Paths of the FHIR packages (folders or .tgz files) that the plugin contains. Called once, when the plugin is
    loaded."""


@hookspec
def indexes() -> Iterable[CompoundIndex]:  # type: ignore[empty-body]
    """Compound indexes for frequent searches of the plugin. Called at start-up, before the store is opened."""


@hookspec
def configuration() -> type:  # type: ignore[empty-body]
    """The frozen dataclass that declares the options of the plugin, one field each, made with `option`. Users set them
    in the setting `plugin_options` as PLUGIN.NAME=VALUE. `context.configuration(…)` returns the instance with the
    values of this deployment. An option that is unknown, or a value that is not allowed, aborts start-up."""


@hookspec
def operations() -> Iterable[PluginOperation]:  # type: ignore[empty-body]
    """Functions for OperationDefinitions. An operation is served where a CapabilityStatement declares it. Operations
    of the plugin's own packages need no declaration: they are served on each served type among their `resource`, and
    at the system level if one of these types is served."""


@hookspec
def translations() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Catalogues of the plugin's messages: language ("fr") -> path of a PO file (docs/plugins.md, Languages). Called
    at start-up."""


@hookspec
def referential_integrity() -> str:  # type: ignore[empty-body]
    """The level of referential integrity that the plugin asks for: off, warn or enforce. It applies if the setting
    `referential_integrity` is not set; of several plugins, the strictest level applies. Called at start-up."""


# --- write ------------------------------------------------------------------------------------------


@hookspec
def before_validate(request: RequestContext, write: Write, context: PluginContext) -> Iterable[Issue] | None:
    """Normalises `write.resource` in place, before validation. Returns issues of severity information or warning about
    the changes. Raises `FhirError` to refuse the write."""


@hookspec
def profiles(
    request: RequestContext, write: Write, requirements: list[ProfileRequirement], context: PluginContext
) -> None:
    """Changes, in place, the profiles that the resource is validated against. `requirements` has those that the
    CapabilityStatement declares and those that the resource claims. Called for writes, for `$validate`, and for each
    nested resource that claims profiles."""


@hookspec
def validate(
    request: RequestContext, write: Write, requirements: Sequence[ProfileRequirement], context: PluginContext
) -> Iterable[Issue] | None:
    """Checks further rules and returns issues. An issue of severity error refuses the write with 422. `requirements`
    are the profiles that the resource is validated against, empty if validation is off. `fhirstore validate` calls it
    without a store: `context.reader` and `context.records` raise `StoreError` then."""


@hookspec
def before_commit(request: RequestContext, write: Write, context: PluginContext) -> None:
    """Completes one validated write: may read the store and append to `write.unique`, `write.records` and
    `write.issues`. Called again if the commit is repeated because the store has changed, and for `$validate` with a
    mode, which stores nothing."""


@hookspec
def complete_commit(request: RequestContext, commit: PendingCommit, context: PluginContext) -> None:
    """Completes a commit: may read the store and add writes, records and guards. Everything is stored together or
    nothing is. Raises `FhirError` to refuse the commit. Called as often as `before_commit`."""


@hookspec
def after_commit(request: RequestContext, stored: Sequence[Stored], context: PluginContext) -> None:
    """Receives the new versions when they are durable. Exceptions are logged and have no other effect."""


@hookspec(firstresult=True)
def conditional_match(
    request: RequestContext, criteria: ConditionalCriteria, context: PluginContext
) -> ConditionalMatch | None:
    """Changes how a conditional create, update or delete finds its match; first result. Raises `FhirError` to refuse
    the request."""


# --- read -------------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def rewrite_search(request: RequestContext, query: Query, context: PluginContext) -> Query | None:
    """Returns a changed copy of a search before it runs, possibly with a `ResourceView`; first result. Raises
    `FhirError` to refuse the search."""


@hookspec
def before_return(request: RequestContext, response: SearchResponse, context: PluginContext) -> None:
    """Changes the response to a search in place before it is serialized. Stored resources do not change. With this
    hook the entries of searches are not cached; a `ResourceView` is faster."""


# --- operate ----------------------------------------------------------------------------------------


@hookspec
def cli(
    group: click.Group,
    validator: Callable[[], Validator],
    with_context: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> None:
    """Adds commands to `fhirstore`. `validator()` returns the validator of this deployment; it takes about a second.
    `with_context` is a decorator, placed below `@group.command`, that adds the options --config, --store and --plugin
    and passes the `PluginContext` of the plugin as `context`. Its store is not opened with a schema: only
    `context.records` and reads by id work."""


@hookspec
def jobs(context: PluginContext) -> Iterable[JobHandler]:  # type: ignore[empty-body]
    """Handlers of the plugin's durable jobs, one for each queue. The names of queues start with the name of the plugin
    and a hyphen. Called at start-up; a handler may keep `context`. Hooks enqueue jobs with `context.jobs`."""


@hookspec
def background(context: PluginContext, stop: threading.Event) -> None:
    """Works beside the requests, in one process of each server, until `stop` is set; it then returns within two
    seconds. If it raises, the exception is logged and the hook is called again after five seconds. It returns at once
    if there is nothing to do."""


@hookspec
def metrics(context: PluginContext) -> Iterable[Metric]:  # type: ignore[empty-body]
    """Metrics for `/metrics`, read from the store each time that the page is requested."""


@hookspec
def pages(context: PluginContext) -> Iterable[OperatorPage]:  # type: ignore[empty-body]
    """Pages for operators. Called at start-up; the setting `operator_pages` controls who sees them."""


@hookspec
def health(context: PluginContext) -> Iterable[Issue] | None:
    """Issues that concern the readiness of the plugin. An issue of severity error makes `/health/ready` return 503."""


@hookspec
def demo() -> Iterable[dict[str, Any]] | None:
    """Resources for `fhirstore demo`, each with an id. Resources that others refer to come first."""


@hookspec
def demo_queries(base: str) -> Iterable[tuple[str, str]] | None:
    """Title and URL of sample searches on the demo data."""


# --- access -----------------------------------------------------------------------------------------


@hookspec(firstresult=True)
def authenticate(http: HttpRequest, context: PluginContext) -> Principal | None:
    """Identifies the caller; first result. Raises `FhirError` with status 401 to refuse the request. Without a result,
    the caller is the client of the accepted certificate, or anonymous."""


@hookspec
def authorize(request: RequestContext, interaction: InteractionSummary, context: PluginContext) -> None:
    """Raises `FhirError` with status 403 to refuse an interaction to `request.principal`. A batch or transaction is
    authorized under the name transaction, and then each of its entries under its own name."""


@hookspec
def audit(
    request: RequestContext, interaction: InteractionSummary, status: int, seconds: float, context: PluginContext
) -> None:
    """Receives the outcome of an interaction after its response, and of each entry of a batch or transaction: caller
    (`request.principal`), HTTP status and duration in seconds. `interaction.name` is empty if the request was refused
    before its interaction was known."""
