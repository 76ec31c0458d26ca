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

from fhirstore.plugins import PluginContext, StartupError, Store
from fhirstore_sas.configuration import SasConfiguration
from fhirstore_sas.relay import listing, outbox
from fhirstore_sas.relay.listing import Item
from fhirstore_sas.relay.run import Relay
from fhirstore_sas.relay.settings import relay_settings, store_of

_SHOWN = 200
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def add_commands(sas: click.Group, with_context: Decorator) -> None:
    """Adds the commands to the group `fhirstore sas`."""

    @sas.command("relay")
    @with_context
    def relay(context: PluginContext) -> None:
        """Send appointments to the platform, until stopped (Ctrl-C, SIGTERM).

        `fhirstore serve` does so itself, unless sas.relay_in=command. Both at once are no harm."""
        settings = relay_settings(context.configuration(SasConfiguration))
        if settings is None:
            raise StartupError("plugin_options, sas.relay_url: it is not set, so there is nowhere to send to.")
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        click.echo(f"appointments are sent to {settings.url} · stop with Ctrl-C", err=True)
        Relay(store_of(context), settings, stop).run()

    @sas.group("outbox")
    def group() -> None:
        """What the platform is still to be told of appointments, and what became of it."""

    @group.command("list")
    @click.option("--state", type=click.Choice(listing.STATES), help="Only these  [default: all but the sent ones]")
    @click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
    @click.option("--limit", type=click.IntRange(1), help="So many of each state  [default: 200 as text, all as JSON]")
    @with_context
    def show_all(context: PluginContext, state: str | None, form: str, limit: int | None) -> None:
        """List appointments that are to be sent: those first that are parked, then those that are due first.

        waiting: to be sent, or tried again at the time given; sending; parked: refused, or tried too long; sent."""
        states = listing.UNFINISHED if state is None else (state,)
        if form == "json":
            for item in listing.items(store_of(context), states, limit):
                click.echo(msgspec.json.encode(_plain(item)).decode())
        else:
            _table(store_of(context), states, limit or _SHOWN)

    @group.command("show")
    @click.argument("appointment")
    @with_context
    def show(context: PluginContext, appointment: str) -> None:
        """Show one as JSON, with what is sent. APPOINTMENT: its id, or the value of its identifier."""
        item = _one(store_of(context), appointment)
        click.echo(json.dumps({**_plain(item), "message": item.message}, indent=2, ensure_ascii=False, default=str))

    @group.command("replay")
    @click.argument("appointments", nargs=-1)
    @click.option("--parked", is_flag=True, help="All that are parked")
    @with_context
    def replay(context: PluginContext, appointments: tuple[str, ...], parked: bool) -> None:
        """Have appointments sent anew, now: parked, waiting or sent ones."""
        _each(store_of(context), appointments, parked, outbox.replay, "will be sent", "is being sent just now")

    @group.command("discard")
    @click.argument("appointments", nargs=-1)
    @click.option("--parked", is_flag=True, help="All that are parked")
    @with_context
    def discard(context: PluginContext, appointments: tuple[str, ...], parked: bool) -> None:
        """Take appointments out of the outbox: the platform is not told. A later change of one is sent again."""
        text = "cannot be discarded: it is being sent just now, or was sent"
        _each(store_of(context), appointments, parked, outbox.discard, "will not be sent", text)


def _each(
    store: Store, names: Iterable[str], parked: bool, do: Callable[[Store, str], bool], done: str, failed: str
) -> None:
    chosen = [_one(store, name).unit for name in names]
    if not chosen and not parked:
        raise click.UsageError("name appointments, or give --parked.")
    wrong = False
    for unit in dict.fromkeys([*chosen, *(listing.parked_units(store) if parked else ())]):
        item = listing.item_of(store, unit)
        if item is None or (unit not in chosen and item.state != "parked"):
            continue  # it was parked, and is not any more
        is_done = do(store, unit)
        wrong = wrong or not is_done
        click.echo(f"Appointment/{item.id} {done if is_done else failed}", err=not is_done)
    if wrong:
        raise SystemExit(1)


def _one(store: Store, name: str) -> Item:
    found = [item for unit in listing.called(store, name) if (item := listing.item_of(store, unit)) is not None]
    if len(found) == 1:
        return found[0]
    text = (
        "several are called so: name one by its identifier SYSTEM|VALUE"
        if found
        else "it is not in the outbox (fhirstore sas outbox list)"
    )
    raise StartupError(f"{name}: {text}.")


def _plain(item: Item) -> dict[str, Any]:
    """An item as JSON; times as instants."""
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


def _table(store: Store, states: Collection[str], limit: int) -> None:
    found = list(listing.items(store, states, limit))
    if not found:
        click.echo("Nothing: the platform knows all that it is to know.")
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
    counts = listing.survey(store).counts
    click.echo(", ".join(f"{number} {state}" for state, number in counts.items() if number and state in states))
    if any(counts[state] > limit for state in listing.UNFINISHED if state in states):
        click.echo(f"(the first {limit} of each state are shown: --limit, or --format json)")
