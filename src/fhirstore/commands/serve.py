"""`fhirstore serve`: the server over HTTP."""

from __future__ import annotations

import logging
import logging.config
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fhirstore import __version__
from fhirstore.commands.background import Background
from fhirstore.commands.logs import logging_config
from fhirstore.commands.options import with_settings
from fhirstore.commands.workers import Listen, Surroundings, check_address, run
from fhirstore.errors import FhirError
from fhirstore.interactions.context import Server
from fhirstore.interactions.packaged import publish
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.store.errors import StoreError
from fhirstore.tls.context import Contexts, check_settings, make_context, tell_expired

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on"),
    click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 = any free port"),
    click.option(
        "--workers",
        default=2,
        show_default=True,
        type=click.IntRange(1),
        envvar="FHIRSTORE_WORKERS",
        help="Processes; about one per processor core",
    ),
    click.option(
        "--threads",
        default=4,
        show_default=True,
        type=click.IntRange(1),
        envvar="FHIRSTORE_THREADS",
        help="Threads of each process",
    ),
    click.option(
        "--log-level",
        default="warning",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
    ),
    click.option("--log-format", default="text", show_default=True, type=click.Choice(["text", "json"])),
    click.option("--access-log", is_flag=True, help="One line on stdout for each request"),
)


def listen_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that make a Listen."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serve_until_stopped(server: Server, listen: Listen, ready: Callable[[str], None]) -> None:
    """ready: called with the base URL, as this machine reaches it, once requests are accepted."""
    from fhirstore.http.app import BASE, make_app  # Flask is needed by this command only

    def tell(port: int) -> None:
        host = "127.0.0.1" if listen.host in ("0.0.0.0", "::", "") else listen.host
        scheme = "https" if server.settings.tls_cert else "http"
        here = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{BASE}"
        ready((server.settings.base_url or here).rstrip("/"))

    background = Background()

    def made(server: Server) -> Flask:
        background.server = server
        app = make_app(server)
        compile_profiles(server)
        server.store.close()  # the workers connect for themselves, nothing is to cross the fork
        return app

    def again() -> Flask:
        fresh = build_published(server.settings)
        click.echo(f"fhirstore has read its definitions again · packages {_packages(fresh)}", err=True)
        return made(fresh)

    settings = server.settings
    around = Surroundings(Contexts(settings) if settings.tls_cert else None, settings.trusted_proxies)
    run(made(server), listen, tell, again, around, background)


def compile_profiles(server: Server) -> None:
    """Compiles the profiles of what is served, once for all workers, which share the memory of this process."""
    if server.settings.validation == "off":
        return
    served = server.registry.types.values()
    profiles = dict.fromkeys(p for t in served for p in (t.profile, *t.supported_profiles) if p is not None)
    # A plugin may want either severity, whatever the settings say.
    wanted = (
        ("error", "warning") if server.plugins.hook.profiles.get_hookimpls() else (server.settings.text_only_severity,)
    )
    server.conformance.prepare(
        ProfileRequirement(p, text_only_severity=text_only_severity) for text_only_severity in wanted for p in profiles
    )


def prepare(settings: Settings, listen: Listen) -> Server:
    """Logging and the pieces of the server. Raises StartupError."""
    logging.config.dictConfig(logging_config(listen.log_level, listen.log_format))
    check_settings(settings)
    if settings.tls_cert:
        make_context(settings)
        tell_expired(settings)
    if listen.port:
        check_address(listen)
    return build_published(settings)


def build_published(settings: Settings) -> Server:
    """The pieces of the server, with the resources of packages in its store. Where the store cannot take them now, the
    server serves all else; they are written at the next start. Raises StartupError."""
    server = build(settings)
    try:
        return publish(server)
    except (StoreError, FhirError) as problem:
        log.error("the resources of packages were not written to the store: %s", problem)
        return server


def _packages(server: Server) -> str:
    return ", ".join(p.label for p in server.registry.catalog.packages) or "none"


def announce(settings: Settings, base: str) -> None:
    """Says on stderr what is served where, without the store's password."""
    store = re.sub(r"(?<=//)[^@/]*@", "", settings.store)
    plugins = ", ".join(settings.plugins) or "none"
    click.echo(
        f"fhirstore {__version__} at {base} · store {store} · capability {settings.capability} · plugins {plugins} · "
        "stop with Ctrl-C",
        err=True,
    )


@click.command()
@listen_options
@with_settings("store", "capability", "plugin", "package_folder", "validation", "base_url", "tls_cert", "tls_key")
def serve(settings: Settings, **listen: Any) -> None:
    """Serve FHIR over HTTP (base path /fhir)."""
    how = Listen(**listen)
    serve_until_stopped(prepare(settings, how), how, lambda base: announce(settings, base))
