"""`fhirstore sas outbox …` and `fhirstore sas relay`."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from fhirstore.plugins import Message, PluginContext, PluginJobs, StartupError
from fhirstore_sas.configuration import SasConfiguration
from fhirstore_sas.relay import status
from fhirstore_sas.relay.outbox import QUEUE
from fhirstore_sas.relay.send import relay_settings
from fhirstore_sas.relay.status import OutboxItem, OutboxState

_SHOWN = 200
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def add_commands(sas: click.Group, with_context: Decorator) -> None:
    """Adds the commands to the group `fhirstore sas`."""

    @sas.command("relay")
    @with_context
    def relay(context: PluginContext) -> None:
        """Send appointments to the platform until stopped (Ctrl-C, SIGTERM).

        `fhirstore serve` does this itself, unless sas.relay_in=command. Both may run at once."""
        _run_relay(context)

    @sas.group("outbox")
    def group() -> None:
        """List, replay and discard appointments for the platform."""

    _add_queries(group, with_context)
    _add_actions(group, with_context)


def _add_queries(outbox: click.Group, with_context: Decorator) -> None:
    @outbox.command("list")
    @click.option("--state", type=click.Choice(status.STATES), help="Only this state  [default: all but sent]")
    @click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
    @click.option("--limit", type=click.IntRange(1), help="Rows of each state  [default: 200 as text, all as JSON]")
    @with_context
    def show_all(context: PluginContext, state: OutboxState | None, form: str, limit: int | None) -> None:
        """List appointments for the platform: parked ones first, then in the order in which they are due.

        waiting: sent next, or at the time shown; sending; parked: refused, or tried too long; sent."""
        states = status.UNSENT if state is None else (state,)
        if form == "json":
            for item in status.list_items(context.jobs, states, limit):
                click.echo(msgspec.json.encode(_plain(item)).decode())
        else:
            _table(context.jobs, states, limit or _SHOWN)

    @outbox.command("show")
    @click.argument("appointment")
    @with_context
    def show(context: PluginContext, appointment: str) -> None:
        """Show an appointment as JSON, with its message. APPOINTMENT: its id, or the value of its identifier."""
        item = _one(context.jobs, appointment)
        click.echo(json.dumps({**_plain(item), "message": item.message}, indent=2, ensure_ascii=False, default=str))


def _add_actions(outbox: click.Group, with_context: Decorator) -> None:
    @outbox.command("replay")
    @click.argument("appointments", nargs=-1)
    @click.option("--parked", is_flag=True, help="All parked appointments")
    @with_context
    def replay(context: PluginContext, appointments: tuple[str, ...], parked: bool) -> None:
        """Send parked, waiting or sent appointments again, now."""
        _each(context.jobs, appointments, parked, context.jobs.replay, "will be sent", "is being sent")

    @outbox.command("discard")
    @click.argument("appointments", nargs=-1)
    @click.option("--parked", is_flag=True, help="All parked appointments")
    @with_context
    def discard(context: PluginContext, appointments: tuple[str, ...], parked: bool) -> None:
        """Remove appointments from the outbox without sending them. A later change of one is sent."""
        text = "cannot be discarded: it is being sent, or was sent"
        _each(context.jobs, appointments, parked, context.jobs.discard, "will not be sent", text)


def _run_relay(context: PluginContext) -> None:
    """Runs the relay until the process receives SIGTERM or SIGINT. Raises StartupError if it is not configured."""
    settings = relay_settings(context.configuration(SasConfiguration))
    if settings is None:
        raise StartupError("plugin_options: sas.relay_url is not set. Set it to the base URL of the platform.")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    click.echo(f"sending appointments to {settings.url} · stop with Ctrl-C", err=True)
    context.jobs.run(stop, QUEUE)


def _each(
    jobs: PluginJobs, names: Iterable[str], parked: bool, act: Callable[[str, str], bool], done: str, failed: str
) -> None:
    chosen = [_one(jobs, name).key for name in names]
    if not chosen and not parked:
        raise click.UsageError("Name appointments, or use --parked.")
    has_failed = False
    for key in dict.fromkeys([*chosen, *(status.parked_keys(jobs) if parked else ())]):
        item = status.find_item(jobs, key)
        if item is None or (key not in chosen and item.state != "parked"):
            continue  # it has changed meanwhile
        is_done = act(QUEUE, key)
        has_failed = has_failed or not is_done
        click.echo(f"Appointment/{item.id} {done if is_done else failed}", err=not is_done)
    if has_failed:
        raise SystemExit(1)


def _one(jobs: PluginJobs, name: str) -> OutboxItem:
    found = status.find_items(jobs, name)
    if len(found) == 1:
        return found[0]
    text = (
        "several appointments match. Use the identifier SYSTEM|VALUE"
        if found
        else "not found in the outbox (fhirstore sas outbox list)"
    )
    raise StartupError(f"{name}: {text}.")


def _plain(item: OutboxItem) -> dict[str, Any]:
    """An item as JSON, with times as instants."""
    return {
        "appointment": f"Appointment/{item.id}",
        "version": item.version,
        "identifier": item.identifier,
        "status": item.message.get("status"),
        "state": item.state,
        "since": moment(item.at),
        "attempts": item.attempts,
        "next": moment(item.next) if item.state == "waiting" and item.next else None,
        "answer": item.status,
        "error": item.error or None,
        "location": item.location or None,
    }


def moment(seconds: float) -> str:
    """Seconds since 1970 as an instant in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _table(jobs: PluginJobs, states: Collection[OutboxState], limit: int) -> None:
    found = list(status.list_items(jobs, states, limit))
    if not found:
        click.echo(Message("All appointments have been sent to the platform."))
        return
    table = Table("Appointment", "Identifier", "Status", "State", "Since", "Attempts", "Next", "Last answer", box=None)
    for item in found:
        one = _plain(item)
        table.add_row(
            item.id, item.identifier, str(one["status"]), item.state, one["since"], str(item.attempts),
            one["next"] or "", item.error or str(item.status or ""),
        )  # fmt: skip
    Console(highlight=False, markup=False, width=None if Console().is_terminal else 240).print(table)
    if "sent" in states:
        click.echo(f"{len(found)} sent shown" if len(found) == limit else f"{len(found)} sent")
        return
    counts = status.outbox_summary(jobs).counts
    click.echo(", ".join(f"{number} {state}" for state, number in counts.items() if number and state in states))
    if any(counts[state] > limit for state in status.UNSENT if state in states):
        click.echo(f"(only the first {limit} of each state are shown; use --limit or --format json)")
