"""`fhirstore serve`: the server over HTTP."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable
from typing import Any
from wsgiref.types import WSGIApplication

import click

from fhirstore import __version__
from fhirstore.commands.background import Background
from fhirstore.commands.gunicorn_server import ConnectionSettings, ProcessOptions, check_address, run
from fhirstore.commands.logs import logging_config
from fhirstore.commands.options import with_settings
from fhirstore.errors import FhirError
from fhirstore.interactions.packaged import publish
from fhirstore.interactions.server import Server
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.server import build
from fhirstore.settings import Settings, without_password
from fhirstore.store.errors import StoreError
from fhirstore.tls.context import ReloadingTlsContext, check_settings, log_expired, make_context

log = logging.getLogger(__name__)

_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        default=8080,
        show_default=True,
        type=click.IntRange(0, 65535),
        help="Port to listen on; 0 picks a free one.",
    ),
    click.option(
        "--workers",
        default=2,
        show_default=True,
        type=click.IntRange(1),
        envvar="FHIRSTORE_WORKERS",
        help="Worker processes, about one per processor core.",
    ),
    click.option(
        "--threads",
        default=4,
        show_default=True,
        type=click.IntRange(1),
        envvar="FHIRSTORE_THREADS",
        help="Threads of each worker process.",
    ),
    click.option(
        "--log-level",
        default="warning",
        show_default=True,
        type=click.Choice(["debug", "info", "warning", "error"]),
        help="Lowest level that is logged.",
    ),
    click.option(
        "--log-format",
        default="text",
        show_default=True,
        type=click.Choice(["text", "json"]),
        help="Format of log lines.",
    ),
    click.option("--access-log", is_flag=True, help="Log each request on stdout, without its query."),
)


def process_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that make up ProcessOptions."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def serve_until_stopped(server: Server, options: ProcessOptions, on_ready: Callable[[str], None]) -> None:
    """on_ready: called with the base URL, as seen from this machine, once the server accepts requests."""
    # Only this command needs Flask.
    from fhirstore.http.app import BASE, make_app
    from fhirstore.http.health import unprotected

    settings, background = server.settings, Background()
    if (warning := unprotected(server, options.host)) is not None:
        log.warning("%s", warning)

    def announce_port(port: int) -> None:
        on_ready((settings.base_url or _local_base(options.host, port, settings) + BASE).rstrip("/"))

    def make_application(server: Server) -> WSGIApplication:
        background.server = server
        app = make_app(server, options.host, options.threads)
        compile_profiles(server)
        server.store.close()  # no connection may cross the fork; each worker opens its own
        return app

    def reload() -> WSGIApplication:
        reloaded = build_published(settings)
        click.echo(f"fhirstore reloaded its definitions · packages {_packages(reloaded)}", err=True)
        return make_application(reloaded)

    tls = ReloadingTlsContext(settings) if settings.tls_cert else None
    connections = ConnectionSettings(tls, settings)
    run(make_application(server), options, announce_port, reload, connections, background)


def _local_base(host: str, port: int, settings: Settings) -> str:
    host = "127.0.0.1" if host in ("0.0.0.0", "::", "") else host
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def compile_profiles(server: Server) -> None:
    """Compiles the profiles of the registry once, before the fork, so that the workers share them."""
    if server.settings.validation == "off":
        return
    served = server.registry.types.values()
    profiles = dict.fromkeys(p for t in served for p in (t.profile, *t.supported_profiles) if p is not None)
    # A plugin may use either severity, regardless of the settings.
    severities = ("error", "warning") if server.hooks.profiles else (server.settings.text_only_severity,)
    server.validator.prepare(
        ProfileRequirement(p, text_only_severity=text_only_severity)
        for text_only_severity in severities
        for p in profiles
    )


def prepare(settings: Settings, options: ProcessOptions) -> Server:
    """Configures logging, checks the settings and builds the server. Raises StartupError."""
    logging.config.dictConfig(logging_config(options.log_level, options.log_format))
    check_settings(settings)
    if settings.tls_cert:
        make_context(settings)
        log_expired(settings)
    if options.port:
        check_address(options)
    return build_published(settings)


def build_published(settings: Settings) -> Server:
    """Builds the server and writes the resources of its packages to the store.

    If the store rejects them, the server starts without them and retries at the next start. Raises StartupError.
    """
    server = build(settings)
    try:
        return publish(server)
    except (StoreError, FhirError) as problem:
        log.error("cannot write the resources of packages to the store: %s", problem)
        return server


def _packages(server: Server) -> str:
    return ", ".join(p.label for p in server.registry.catalog.packages) or "none"


def announce(settings: Settings, base: str) -> None:
    """Prints the base URL and the configuration to stderr, without the password of the store."""
    store = without_password(settings.store)
    plugins = ", ".join(settings.plugins) or "none"
    click.echo(
        f"fhirstore {__version__} at {base} · store {store} · capability {settings.capability} · plugins {plugins} · "
        "stop with Ctrl-C",
        err=True,
    )


@click.command()
@process_options
@with_settings("store", "capability", "plugin", "package_folder", "validation", "base_url", "tls_cert", "tls_key")
def serve(settings: Settings, **process: Any) -> None:
    """Serve FHIR over HTTP under the path /fhir."""
    options = ProcessOptions(**process)
    serve_until_stopped(prepare(settings, options), options, lambda base: announce(settings, base))
