"""The extension points of fhirstore that the SAS uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirstore.errors import Issue
from fhirstore.plugins import (
    CompoundIndex,
    ConditionalMatch,
    Metric,
    OperatorPage,
    PendingCommit,
    PluginOperation,
    PluginOption,
    ProfileRequirement,
    Query,
    Registry,
    Store,
    Validator,
    Write,
    hookimpl,
)
from fhirstore_sas import (
    accounts,
    appointments,
    booking,
    business,
    corrections,
    demonstration,
    inspection,
    limits,
    searches,
    slot_audit,
)
from fhirstore_sas.answers import view_of
from fhirstore_sas.demands import GUIDE, choose, guide_of
from fhirstore_sas.jobs import plugin_jobs
from fhirstore_sas.modes import mode_of
from fhirstore_sas.relay import metrics as outbox_metrics
from fhirstore_sas.relay import notify
from fhirstore_sas.relay import settings as relaying

if TYPE_CHECKING:
    import threading

    import click


@hookimpl
def packages() -> Iterable[str]:
    return [str(Path(__file__).parent / folder) for folder in ("package", "package-1.1.0")]


@hookimpl
def indexes() -> Iterable[CompoundIndex]:
    return [CompoundIndex("Slot", ("schedule", "status", "start"))]


@hookimpl
def rewrite_search(query: Query, registry: Registry, options: Mapping[str, str]) -> Query | None:
    mode = mode_of(query.type, query.params)
    if mode is None:
        return None
    limits.check(query, limits.most(options))
    asked, search = searches.rewrite(query, registry, mode)
    return replace(asked, view=view_of(search))


@hookimpl
def conditional_match(
    type: str, params: list[tuple[str, str]], resource: dict[str, Any] | None, registry: Registry
) -> ConditionalMatch | None:
    if type == "Practitioner" and accounts.is_account(resource):
        _spell_identifier(params)
        return accounts.match(params, registry)
    if type == "Practitioner" and resource is not None:
        return accounts.match_others(params, registry)
    if type == "Organization":
        return accounts.match_notations(params)
    if type == "Appointment":
        _spell_identifier(params)
        return ConditionalMatch(ignore_body_id=appointments.is_appointment(resource))
    return None


def _spell_identifier(params: list[tuple[str, str]]) -> None:
    """The guide writes `?Identifier=` in one place (SPEC §20, no. 3)."""
    params[:] = [("identifier" if name.lower() == "identifier" else name, value) for name, value in params]


@hookimpl
def operations() -> Iterable[PluginOperation]:
    return [inspection.operation()]


@hookimpl
def translations() -> Mapping[str, str]:
    return {"fr": str(Path(__file__).with_name("fr.txt"))}


@hookimpl
def options() -> Iterable[PluginOption]:
    return [corrections.CHOICE, booking.CHOICE, GUIDE, limits.CHOICE, slot_audit.CHOICE, *relaying.OPTIONS]


@hookimpl
def check_options(options: Mapping[str, str]) -> None:
    configured = relaying.relay_settings(options)
    if configured is not None and configured.url.startswith("https:"):
        configured.tls()


@hookimpl
def before_validate(write: Write, options: Mapping[str, str]) -> Iterable[Issue] | None:
    if accounts.is_account(write.resource):
        return accounts.normalise(write)
    if appointments.is_appointment(write.resource):
        write.location_without_version = True
    elif corrections.are_wanted(write, options):
        return corrections.correct(write.resource or {}, guide_of(options))
    return None


@hookimpl
def profiles(write: Write, demands: list[ProfileRequirement], options: Mapping[str, str]) -> None:
    choose(write, demands, guide_of(options))


@hookimpl
def validate(write: Write, demands: Sequence[ProfileRequirement], options: Mapping[str, str]) -> Iterable[Issue] | None:
    if write.resource is None:
        return None
    found = business.judge(write.resource, demands)
    if found and write.type == "Appointment" and write.interaction != "validate" and notify.is_on(options):
        return list(notify.adjust_issues(found, write.resource))
    return found


@hookimpl
def before_commit(write: Write, store: Store, registry: Registry, options: Mapping[str, str]) -> None:
    if write.resource is not None and accounts.is_account(write.resource):
        _claim(write, accounts.unique_keys(write.resource))
    if write.type == "Appointment" and booking.is_on(registry, options):
        _claim(write, booking.unique_keys(write.resource, write.base))
        write.notes.extend(booking.notes(write, store))
    if write.type == "Appointment" and notify.is_on(options):
        _claim(write, notify.unique_keys(write.resource))


def _claim(write: Write, keys: Iterable[str]) -> None:
    write.unique.extend(key for key in keys if key not in write.unique)


@hookimpl
def complete_commit(commit: PendingCommit, store: Store, registry: Registry, options: Mapping[str, str]) -> None:
    if booking.is_on(registry, options):
        booking.book(commit, store, registry)
    if notify.is_on(options):
        notify.notify(commit, plugin_jobs(store, options))


@hookimpl
def demo() -> Iterable[dict[str, Any]]:
    return demonstration.resources(demonstration.today())


@hookimpl
def demo_queries(base: str) -> Iterable[tuple[str, str]]:
    return demonstration.queries(base, demonstration.today())


@hookimpl
def cli(group: click.Group, validator: Callable[[], Validator], with_deployment: Callable[..., Any]) -> None:
    from fhirstore_sas.check.command import make_group  # servers need none of it
    from fhirstore_sas.relay.command import add_commands

    sas = make_group(validator)
    add_commands(sas, with_deployment)
    group.add_command(sas)


@hookimpl
def background(store: Store, options: Mapping[str, str], stop: threading.Event) -> None:
    jobs = plugin_jobs(store, options)
    jobs.run(stop, *(one.queue for one in jobs.handlers if one.in_server))


@hookimpl
def metrics(store: Store, options: Mapping[str, str]) -> Iterable[Metric]:
    jobs = plugin_jobs(store, options)
    yield from slot_audit.metrics(jobs)
    if notify.is_on(options):
        yield from outbox_metrics.read(jobs)


@hookimpl
def pages(options: Mapping[str, str]) -> Iterable[OperatorPage]:
    if not notify.is_on(options):
        return []
    from fhirstore_sas.relay import page

    return [OperatorPage(page.PATH, lambda store, query: page.render(plugin_jobs(store, options), query))]


@hookimpl
def health(store: Store) -> Iterable[Issue]:
    return outbox_metrics.unhealthy(plugin_jobs(store, {}))
