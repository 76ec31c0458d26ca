"""`fhirstore export`: writes the current resources as NDJSON, one file per type."""

from __future__ import annotations

import itertools
import os
from collections.abc import Container, Iterator
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TextColumn

from fhirstore.commands.options import with_settings
from fhirstore.formats.json import compose
from fhirstore.model.stored import Stored
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.store.protocol import Store


def export_all(
    store: Store, folder: Path, types: tuple[str, ...], excluded: Container[str] = ()
) -> Iterator[tuple[str, int]]:
    """Writes <Type>.ndjson for each type that has resources. Files get their final names when they are complete.

    types: the types to export; empty exports all. excluded: "Type/id" of resources to leave out.
    Yields (type, resources so far) at the end of a type and every 1000 resources.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: Iterator[Stored] = itertools.chain.from_iterable(map(store.scan, types or (None,)))
    exported = (stored for stored in rows if stored.ref not in excluded)
    for type, group in itertools.groupby(exported, lambda stored: stored.type):
        file, part, count = folder / f"{type}.ndjson", folder / f".{type}.ndjson.part", 0
        with part.open("wb") as out:
            for count, stored in enumerate(group, 1):
                out.write(compose(stored) + b"\n")
                if count % 1000 == 0:
                    yield type, count
            out.flush()
            os.fsync(out.fileno())
        os.replace(part, file)
        yield type, count


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Export only this resource type. Repeatable.")
@with_settings("store", "capability", "plugin", "package_folder")
def export(settings: Settings, folder: Path, types: tuple[str, ...]) -> None:
    """Write the current resources to NDJSON files.

    FOLDER gets one file per resource type. Use the same capability and plugins as for serve. Resources of packages are
    not exported."""
    server = build(settings)
    if unknown := [t for t in types if t not in server.registry.catalog.core.resource_types]:
        raise click.BadParameter(f"{', '.join(unknown)}: not a FHIR R4 resource type.")
    counts: dict[str, int] = {}
    console = Console(stderr=True)
    progress = Progress(TextColumn("{task.description}"), console=console, disable=not console.is_terminal)
    with closing(server.store), progress:
        task = progress.add_task("export")
        for type, count in export_all(server.store, folder, types, server.package_owners):
            counts[type] = count
            progress.update(task, description=f"{type}: {count} resources")
    click.echo(f"{sum(counts.values())} resources of {len(counts)} types written to {folder}")
