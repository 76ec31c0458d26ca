"""The hooks of fhirstore that the SAS plugin implements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirstore.plugins import (
    CompoundIndex,
    ConditionalCriteria,
    ConditionalMatch,
    Issue,
    JobHandler,
    Metric,
    OperatorPage,
    PendingCommit,
    PluginContext,
    PluginOperation,
    ProfileRequirement,
    Query,
    RequestContext,
    Validator,
    Write,
    hookimpl,
)
from fhirstore_sas import (
    accounts,
    booking,
    corrections,
    demo_data,
    inspection,
    searches,
    slot_audit,
)
from fhirstore_sas.configuration import SasConfiguration
from fhirstore_sas.profile_requirements import (
    MESSAGE_TYPES,
    adjust_requirements,
    check_business_rules,
    is_account,
    is_appointment,
    unidentified_operators,
)
from fhirstore_sas.relay import outbox, status
from fhirstore_sas.relay.references import complete_operators
from fhirstore_sas.relay.run import relay_handler
from fhirstore_sas.relay.send import relay_settings
from fhirstore_sas.search_view import make_view

if TYPE_CHECKING:
    import click


_TYPES_WITH_RULES = MESSAGE_TYPES | {"Slot"}
"""Types with rules that apply without a profile."""


def _has_relay(context: PluginContext) -> bool:
    return context.configuration(SasConfiguration).relay_url is not None


# --- declare ----------------------------------------------------------------------------------------


@hookimpl
def packages() -> Iterable[str]:
    return [str(Path(__file__).parent / folder) for folder in ("package", "package-1.1.0")]


@hookimpl
def indexes() -> Iterable[CompoundIndex]:
    return [CompoundIndex("Slot", ("schedule", "status", "start"))]


@hookimpl
def configuration() -> type:
    return SasConfiguration


@hookimpl
def operations() -> Iterable[PluginOperation]:
    return [inspection.plugin_operation()]


@hookimpl
def translations() -> Mapping[str, str]:
    return {"fr": str(Path(__file__).with_name("fr.po"))}


# --- write ------------------------------------------------------------------------------------------


@hookimpl
def before_validate(request: RequestContext, write: Write, context: PluginContext) -> Iterable[Issue] | None:
    if write.type == "Practitioner" and is_account(write.resource):
        return accounts.normalise(write)
    if write.type == "Appointment" and write.resource is not None and is_appointment(write.resource):
        write.location_without_version = True
        if write.interaction != "validate" and unidentified_operators(write.resource):
            return list(complete_operators(write.resource, context.reader, write.base))
    elif write.type in corrections.TYPES and write.interaction != "validate" and write.resource is not None:
        configured = context.configuration(SasConfiguration)
        return corrections.correct(write.resource, configured.guide) if configured.corrections else None
    return None


@hookimpl
def profiles(
    request: RequestContext, write: Write, requirements: list[ProfileRequirement], context: PluginContext
) -> None:
    if requirements or write.type in MESSAGE_TYPES:
        adjust_requirements(write, requirements, context.configuration(SasConfiguration).guide)


@hookimpl
def validate(
    request: RequestContext, write: Write, requirements: Sequence[ProfileRequirement], context: PluginContext
) -> Iterable[Issue] | None:
    if write.resource is None or not (requirements or write.type in _TYPES_WITH_RULES):
        return None
    found = check_business_rules(write.resource, requirements)
    if found and write.type == "Appointment" and write.interaction != "validate" and _has_relay(context):
        return list(outbox.adjust_issues(found, write.resource))
    return found


@hookimpl
def before_commit(request: RequestContext, write: Write, context: PluginContext) -> None:
    if write.type == "Practitioner" and write.resource is not None and is_account(write.resource):
        _claim(write, accounts.unique_keys(write.resource))
    if write.type != "Appointment":
        return
    configured = context.configuration(SasConfiguration)
    if booking.is_on(configured, context.registry):
        _claim(write, booking.unique_keys(write.resource, write.base))
        write.issues.extend(booking.external_slot_issues(write, context.reader))
    if configured.relay_url is not None and is_appointment(write.resource):
        _claim(write, (outbox.unique_key(write.resource),))


def _claim(write: Write, keys: Iterable[str]) -> None:
    write.unique.extend(key for key in keys if key not in write.unique)


@hookimpl
def complete_commit(request: RequestContext, commit: PendingCommit, context: PluginContext) -> None:
    if not any(write.type in ("Appointment", "Slot") for write in commit.writes):
        return
    configured = context.configuration(SasConfiguration)
    if booking.is_on(configured, context.registry):
        booking.book(commit, context.reader, context.registry)
    if configured.relay_url is not None:
        outbox.notify(commit, context.jobs, context.reader)


@hookimpl
def conditional_match(
    request: RequestContext, criteria: ConditionalCriteria, context: PluginContext
) -> ConditionalMatch | None:
    type, resource = criteria.type, criteria.resource
    if type == "Practitioner" and is_account(resource):
        _accept_capital_letter(criteria)
        return accounts.match(criteria.params, context.registry)
    if type == "Practitioner" and resource is not None:
        return accounts.match_professional(criteria.params, context.registry)
    if type == "Organization":
        return accounts.match_structure(criteria.params)
    if type == "Appointment":
        _accept_capital_letter(criteria)
        return ConditionalMatch(ignore_body_id=is_appointment(resource))
    return None


def _accept_capital_letter(criteria: ConditionalCriteria) -> None:
    """The guide writes `?Identifier=` in one place (SPEC §20, no. 3)."""
    criteria.params[:] = [
        ("identifier" if name.lower() == "identifier" else name, value) for name, value in criteria.params
    ]


# --- read -------------------------------------------------------------------------------------------


@hookimpl
def rewrite_search(request: RequestContext, query: Query, context: PluginContext) -> Query | None:
    mode = searches.search_mode(query.type, query.params)
    if mode is None:
        return None
    limit = context.configuration(SasConfiguration).identifiers
    rewritten, search = searches.rewrite(query, context.registry, mode, limit)
    return replace(rewritten, view=make_view(search))


# --- operate ----------------------------------------------------------------------------------------


@hookimpl
def cli(group: click.Group, validator: Callable[[], Validator], with_context: Callable[..., Any]) -> None:
    # Imported here, because servers do not need them.
    from fhirstore_sas.check.command import make_group
    from fhirstore_sas.relay.command import add_commands

    sas = make_group(validator)
    add_commands(sas, with_context)
    group.add_command(sas)


@hookimpl
def jobs(context: PluginContext) -> Iterable[JobHandler]:
    configured = context.configuration(SasConfiguration)
    return [
        relay_handler(relay_settings(configured)),
        slot_audit.slot_audit_handler(lambda: context.reader, configured.slot_audit),
    ]


@hookimpl
def metrics(context: PluginContext) -> Iterable[Metric]:
    yield from slot_audit.metrics(context.jobs)
    if _has_relay(context):
        yield from status.metrics(context.jobs)


@hookimpl
def pages(context: PluginContext) -> Iterable[OperatorPage]:
    if not _has_relay(context):
        return []
    from fhirstore_sas.relay import page

    return [OperatorPage(page.PATH, lambda request, parameters: page.render(context.jobs, parameters))]


@hookimpl
def health(context: PluginContext) -> Iterable[Issue]:
    return status.unhealthy(context.jobs)


@hookimpl
def demo() -> Iterable[dict[str, Any]]:
    return demo_data.resources(demo_data.today())


@hookimpl
def demo_queries(base: str) -> Iterable[tuple[str, str]]:
    return demo_data.queries(base, demo_data.today())
