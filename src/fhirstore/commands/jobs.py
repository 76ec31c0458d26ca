"""`fhirstore jobs`: durable jobs of a store, beside running servers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from fhirstore.commands.options import with_settings
from fhirstore.errors import StartupError
from fhirstore.jobs import control, summary
from fhirstore.jobs.model import PENDING_STATES, Job
from fhirstore.jobs.queue import JobQueue
from fhirstore.jobs.records import queue_names
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store

_SHOWN = 100
_STATES = (*PENDING_STATES, *summary.FINISHED_STATES)
_WIDE = 200

queue_option = click.option("--queue", help="Only this queue, such as reindex or sas-relay")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with payload and result")


@click.group()
def jobs() -> None:
    """List, show, retry and discard durable jobs."""


@jobs.command("list")
@with_settings("store", "plugin")
@queue_option
@click.option("--state", "states", multiple=True, type=click.Choice(_STATES), help="Only this state (may be repeated)")
@click.option("--limit", type=click.IntRange(1), default=_SHOWN, show_default=True, help="Jobs of each queue and state")
@json_option
def list_command(settings: Settings, queue: str | None, states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List jobs: parked ones first, then running, waiting and queued ones, and finished ones last."""
    with _opened(settings) as store:
        found = [
            job for name in _queues(store, queue) for job in summary.list_jobs(store, name, states or _STATES, limit)
        ]
        if as_json:
            for job in found:
                click.echo(json.dumps(as_dict(job), ensure_ascii=False, default=str))
        elif found:
            _print(found)
        else:
            click.echo("No jobs.")


@jobs.command("show")
@with_settings("store", "plugin")
@click.argument("queue")
@click.argument("key")
def show_command(settings: Settings, queue: str, key: str) -> None:
    """Show a job as JSON. KEY: its key or id."""
    with _opened(settings) as store:
        click.echo(json.dumps(as_dict(_one(store, queue, key)), indent=2, ensure_ascii=False, default=str))


@jobs.command("retry")
@with_settings("store", "plugin")
@click.argument("queue")
@click.argument("keys", nargs=-1)
@click.option("--parked", is_flag=True, help="All parked jobs of the queue")
def retry_command(settings: Settings, queue: str, keys: tuple[str, ...], parked: bool) -> None:
    """Run parked, waiting or finished jobs again, now. KEYS: their keys or ids."""
    _each(settings, queue, keys, parked, control.replay, "is due", "is running")


@jobs.command("discard")
@with_settings("store", "plugin")
@click.argument("queue")
@click.argument("keys", nargs=-1)
@click.option("--parked", is_flag=True, help="All parked jobs of the queue")
def discard_command(settings: Settings, queue: str, keys: tuple[str, ...], parked: bool) -> None:
    """Remove jobs without running them. KEYS: their keys or ids.

    If a queue delivers every item of a key, only the next item is removed."""
    _each(settings, queue, keys, parked, control.discard, "is discarded", "is running or finished")


def _each(
    settings: Settings,
    queue: str,
    keys: Sequence[str],
    parked: bool,
    act: Callable[[JobQueue, str], bool],
    done: str,
    failed: str,
) -> None:
    if not keys and not parked:
        raise click.UsageError("Name jobs, or use --parked.")
    with _opened(settings) as store:
        chosen = [_one(store, queue, key) for key in keys]
        if parked:
            chosen += summary.list_jobs(store, _queues(store, queue)[0], ("parked",))
        target, has_failed = JobQueue(store, queue), False
        for job in {job.id: job for job in chosen}.values():
            is_done = act(target, job.id)
            has_failed = has_failed or not is_done
            click.echo(f"{queue} {job.key} {done if is_done else failed}", err=not is_done)
    if has_failed:
        raise SystemExit(1)


@contextmanager
def _opened(settings: Settings) -> Iterator[Store]:
    with closing(open_store(settings.store, settings)) as store:
        if not store.exists():
            raise StartupError(f"store: no store at {settings.store}. Set --store or FHIRSTORE_STORE.")
        yield store


def _queues(store: Store, chosen: str | None) -> list[str]:
    known = queue_names(store)
    if chosen is None:
        return known
    if chosen not in known:
        raise StartupError(f"{chosen}: no such queue. Queues with jobs: {', '.join(known) or 'none'}.")
    return [chosen]


def _one(store: Store, queue: str, key: str) -> Job:
    found = summary.find_jobs(store, _queues(store, queue)[0], key)
    if not found:
        raise StartupError(f"{key}: no such job in the queue {queue} (fhirstore jobs list --queue {queue}).")
    return found[0]


def as_dict(job: Job) -> dict[str, Any]:
    """A job as JSON, with times as instants."""
    return {
        "queue": job.queue,
        "key": job.key,
        "id": job.id,
        "state": job.state,
        "items": job.items,
        "attempts": job.attempts,
        "created": moment(job.created),
        "next": moment(job.next),
        "finished": moment(job.finished),
        "owner": job.owner or None,
        "progress": None if job.progress is None else str(job.progress),
        "error": job.error or None,
        "outcome": job.outcome,
        "payload": job.payload,
        "result": job.result,
    }


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as an instant in UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(found: Sequence[Job]) -> None:
    table = Table("Queue", "Key", "State", "Created", "Attempts", "Next", "Progress", "Last error", box=None)
    for job in found:
        next_attempt = moment(job.next) if job.state == "waiting" else None
        table.add_row(
            job.queue, job.key, job.state, moment(job.created), str(job.attempts), next_attempt or "",
            "" if job.progress is None else str(job.progress), job.error,
        )  # fmt: skip
    Console(highlight=False, markup=False, width=None if Console().is_terminal else _WIDE).print(table)
