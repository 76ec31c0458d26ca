"""`fhirstore demo`: the demo data of the plugins, and, with --serve, a server with sample queries on them."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import click

from fhirstore.commands.options import with_settings
from fhirstore.commands.serve import announce, listen_options, prepare, serve_until_stopped
from fhirstore.commands.workers import Listen
from fhirstore.errors import StartupError
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.context import Server
from fhirstore.server import build
from fhirstore.settings import Settings


def load_demo(server: Server) -> int:
    """Stores the demo data of all plugins; the number of resources. Raises StartupError: there are none, or some are
    refused."""
    resources = [r for given in server.plugins.hook.demo() for r in given or ()]
    if not resources:
        raise StartupError("no plugin with demo data is loaded; name one, such as --plugin sas.")
    for reference, issues in put_many(server, resources):
        refused = [i.diagnostics for i in issues or () if i.is_error]
        if refused:
            raise StartupError(f"the demo data are refused: {reference}: {'; '.join(refused)}")
    return len(resources)


def _show_queries(server: Server, base: str) -> None:
    """On stdout, ready to be pasted into a shell."""
    for given in server.plugins.hook.demo_queries(base=base):
        for title, url in given or ():
            click.echo(f"\n# {title}\ncurl '{url}'")


@click.command()
@click.option("--serve", is_flag=True, help="Serve the data afterwards and print sample queries")
@listen_options
@with_settings("store", "capability", "plugin", "package_folder", "validation", "base_url", "tls_cert", "tls_key")
def demo(settings: Settings, serve: bool, **listen: Any) -> None:
    """Load the demo data of the plugins into the store."""
    how = Listen(**listen)
    server = prepare(settings, how) if serve else build(settings)
    with closing(server.store):
        click.echo(f"{load_demo(server)} demo resources are in {settings.store}", err=True)
        if serve:
            serve_until_stopped(server, how, lambda base: _tell(server, base))


def _tell(server: Server, base: str) -> None:
    announce(server.settings, base)
    _show_queries(server, base)
