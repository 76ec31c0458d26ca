"""`fhirstore reindex`: index entries for search parameters that are new or have changed, while serving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress

from fhirstore.commands.options import with_settings
from fhirstore.formats.compose import compose
from fhirstore.formats.json import parse
from fhirstore.interactions.context import Server
from fhirstore.interactions.write import extract_index
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.stored import Stored
from fhirstore.server import build
from fhirstore.settings import Settings

UNLIMITED_NESTING = 1 << 30  # what is stored has been accepted, whatever the limit is now


@click.command()
@with_settings("store", "capability", "plugin", "package_folder")
def reindex(settings: Settings) -> None:
    """Index what is pending for the given capability and plugins (use the same ones as for serve)."""
    server = build(settings)
    with closing(server.store):
        pending = sorted(f"{type}.{code}" for type, code in server.store.pending())
        if not pending:
            click.echo("Nothing is pending: every search parameter is indexed.")
            return
        click.echo("Pending: " + ", ".join(pending))
        click.echo(f"{_reindex(server)} resources indexed.")


def _reindex(server: Server) -> int:
    def entries(stored: Stored) -> Mapping[str, Sequence[IndexEntry]]:
        return extract_index(server, stored.type, parse(compose(stored), UNLIMITED_NESTING))

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("reindex", total=None)
        return server.store.reindex(entries, lambda n, total: progress.update(task, completed=n, total=total))
