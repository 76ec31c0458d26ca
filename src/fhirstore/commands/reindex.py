"""`fhirstore reindex`: index entries for search parameters that are new or have changed, while serving."""

from __future__ import annotations

from contextlib import closing

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from fhirstore.commands.options import with_settings
from fhirstore.interactions.reindex import KEY, OPTIONS, QUEUE, payload_for, reindex
from fhirstore.interactions.server import Server
from fhirstore.jobs.inline import acquire, holding
from fhirstore.jobs.model import Done, Job
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import find_job
from fhirstore.server import build
from fhirstore.settings import Settings


@click.command("reindex")
@with_settings("store", "capability", "plugin", "package_folder")
def reindex_command(settings: Settings) -> None:
    """Index pending search parameters. Use the same capability and plugins as for serve.

    If the command is killed, a running server or the next command continues where it stopped."""
    server = build(settings)
    with closing(server.store):
        pending = sorted(f"{type}.{code}" for type, code in server.store.pending_parameters())
        if not pending:
            click.echo("Nothing is pending: every search parameter is indexed.")
            return
        click.echo("Pending: " + ", ".join(pending))
        click.echo(f"{_reindex(server)} resources indexed.")


def _reindex(server: Server) -> int:
    """Runs the job, or waits for the process that runs it; returns the number of resources."""
    queue, payload = JobQueue(server.store, QUEUE, OPTIONS), payload_for(server)
    known = find_job(server.store, QUEUE, job_id(KEY))
    if known is not None and known.items and known.payload != payload:
        queue.submit(KEY, payload)  # replaces the unfinished job of another schema
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("reindex", total=None)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        def follow(job: Job) -> None:
            if job.progress is not None:
                show(job.progress.done, job.progress.total)

        run = acquire(queue, KEY, payload, waiting=follow)
        if run is None:  # another process has done it
            finished = find_job(server.store, QUEUE, job_id(KEY))
            return int(finished.result["resources"]) if finished is not None and finished.result else 0
        with holding(run):
            number = reindex(server, run, show)
            run.store(Done({"resources": number}))
            return number
