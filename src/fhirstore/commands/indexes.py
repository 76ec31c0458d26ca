"""`fhirstore indexes`: lists the present, missing and unused indexes of the database."""

from __future__ import annotations

from contextlib import closing

import click
from rich.console import Console
from rich.table import Table

from fhirstore.commands.options import with_settings
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.store.protocol import IndexInfo


@click.command()
@click.option("--drop-unused", is_flag=True, help="Drop indexes that fhirstore created and no longer needs.")
@with_settings("store", "capability", "plugin")
def indexes(settings: Settings, drop_unused: bool) -> None:
    """List the database indexes.

    Use the same capability and plugins as for serve."""
    with closing(build(settings).store) as store:
        if drop_unused:
            for index in store.drop_unused_indexes():
                click.echo(f"Dropped: {index.collection}.{index.name}")
        found = store.indexes()
    Console(width=None if Console().is_terminal else 200).print(_table(found))
    states = ("present", "missing", "unused", "foreign")
    click.echo(" · ".join(f"{sum(1 for index in found if index.state == state)} {state}" for state in states))


def _table(found: list[IndexInfo]) -> Table:
    table = Table("Collection", "Index", "Fields", "State", "Size", "Uses", box=None)
    for index in found:
        size = "" if index.size is None else f"{index.size / 1e6:.1f} MB"
        uses = "" if index.uses is None else str(index.uses)
        table.add_row(index.collection, index.name, ", ".join(index.fields), index.state, size, uses)
    return table
