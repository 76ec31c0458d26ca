"""`fhirstore demo`: stores the demo data of plugins and, with --serve, serves it and prints sample queries."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from fhirstore.commands.gunicorn_server import ProcessOptions
from fhirstore.commands.options import with_settings
from fhirstore.commands.serve import announce, prepare, process_options, serve_until_stopped
from fhirstore.errors import StartupError
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.server import Server
from fhirstore.server import build
from fhirstore.settings import Settings


def load_demo(server: Server) -> int:
    """Stores the demo data of all plugins and returns the number of resources.

    Raises StartupError if there are none, or if the server rejects some.
    """
    resources = [r for result in server.plugins.hook.demo() for r in result or ()]
    if not resources:
        raise StartupError("no plugin with demo data is loaded. Load one, such as --plugin sas.")
    for reference, issues in put_many(server, resources):
        errors = [i.diagnostics for i in issues or () if i.is_error]
        if errors:
            raise StartupError(f"demo resource {reference} is invalid: {'; '.join(errors)}")
    return len(resources)


def _show_queries(server: Server, base: str) -> None:
    """Prints the sample queries as commands of a shell."""
    for queries in server.plugins.hook.demo_queries(base=base):
        for title, url in queries or ():
            click.echo(f"\n# {title}\ncurl '{url}'")


@click.command()
@click.option("--serve", is_flag=True, help="Serve the data afterwards and print sample queries.")
@process_options
@with_settings("store", "capability", "plugin", "package_folder", "validation", "base_url", "tls_cert", "tls_key")
def demo(settings: Settings, serve: bool, **process: Any) -> None:
    """Store the demo data of the loaded plugins."""
    options = ProcessOptions(**process)
    server = prepare(settings, options) if serve else build(settings)
    with closing(server.store):
        click.echo(f"{load_demo(server)} demo resources stored in {settings.store}", err=True)
        if serve:
            serve_until_stopped(server, options, lambda base: _announce_demo(server, base))


def _announce_demo(server: Server, base: str) -> None:
    announce(server.settings, base)
    _show_queries(server, base)
