"""Options that several commands share. Commands get them as one argument, `settings`."""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click

from fhirstore.errors import StartupError
from fhirstore.plugins.manager import Plugins
from fhirstore.settings import Settings
from fhirstore.settings_load import load_settings
from fhirstore.store import open_store
from fhirstore.tls.client import client_context

_OPTIONS = {
    "config": click.option(
        "--config", metavar="FILE", help="JSON or TOML file with settings.  [env: FHIRSTORE_CONFIG]"
    ),
    "store": click.option(
        "--store", metavar="URL", help="sqlite:///PATH or mongodb://HOST/DATABASE.  [default: sqlite:///./fhirstore.db]"
    ),
    "capability": click.option(
        "--capability",
        metavar="FILE|NAME",
        help="CapabilityStatement: a file, or the name of a built-in one or of one in a package.  [default: r4-full]",
    ),
    "plugin": click.option(
        "--plugin",
        "plugins",
        multiple=True,
        metavar="NAME|PATH",
        help="Installed plugin, or path of a FHIR package. Repeatable.",
    ),
    "package_folder": click.option(
        "--package-folder", metavar="FOLDER", help="Folder of installed FHIR packages.  [default: ./fhirstore-packages]"
    ),
    "validation": click.option(
        "--validation",
        metavar="enforce|warn|off",
        help="Reject invalid writes, store them with warnings, or skip validation.  [default: enforce]",
    ),
    "base_url": click.option(
        "--base-url", metavar="URL", help="Base of absolute URLs in responses.  [default: the Host header]"
    ),
    "tls_cert": click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate (PEM)."),
    "tls_key": click.option("--tls-key", metavar="FILE", help="Private key of the certificate (PEM)."),
}

Function = Callable[..., Any]

_CLIENT_TLS = (
    click.option("--cert", metavar="FILE", help="Client certificate for the server, PEM."),
    click.option("--key", metavar="FILE", help="Private key of the certificate, PEM, if it is in another file."),
    click.option(
        "--cacert",
        metavar="FILE",
        help="Authorities that issue the certificate of the server, PEM.  [default: those of the system]",
    ),
)


@dataclass(frozen=True, slots=True)
class ClientTls:
    """The options --cert, --key and --cacert of a command that speaks to a server."""

    cert: str | None = None
    key: str | None = None
    cacert: str | None = None

    def context_for(self, url: str) -> ssl.SSLContext | None:
        """The TLS context for requests to this URL, None for http. Raises StartupError that names the option."""
        given = {"--cert": self.cert, "--key": self.key, "--cacert": self.cacert}
        if urlsplit(url).scheme == "https":
            return client_context(self.cert, self.key, self.cacert)
        for name, file in given.items():
            if file is not None:
                raise StartupError(f"{name}: has no effect, because {url} does not begin with https://.")
        return None


NO_TLS_OPTIONS = ClientTls()


def with_client_tls(command: Function) -> Function:
    """Adds --cert, --key and --cacert to a command, and passes them to it as one argument, `tls`."""

    @functools.wraps(command)
    def run(*args: Any, cert: str | None, key: str | None, cacert: str | None, **rest: Any) -> Any:
        return command(*args, tls=ClientTls(cert, key, cacert), **rest)

    for option in reversed(_CLIENT_TLS):
        run = option(run)
    return run


def with_settings(*names: str) -> Callable[[Function], Function]:
    """Adds --config and the named options to a command, and passes it the resulting Settings as `settings`."""

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def run(*args: Any, config: str | None, **rest: Any) -> Any:
            before_command = click.get_current_context().find_root().params.get("plugins", ())
            plugins = (*before_command, *rest.pop("plugins", ()))
            arguments = {name: rest.pop(name) for name in names if name != "plugin"}
            settings = load_settings({**arguments, "plugins": plugins or None}, file=config)
            return command(*args, settings=settings, **rest)

        for name in reversed(("config", *names)):
            run = _OPTIONS[name](run)
        return run

    return decorate


def context_decorator(plugin: str, *names: str) -> Callable[[Function], Function]:
    """A decorator for the commands of a plugin.

    It adds --config, --store and --plugin, and passes the command the `PluginContext` of the plugin as `context`. It
    closes the store afterwards. names: plugins to load besides those of the settings.
    """

    def decorate(command: Function) -> Function:
        @functools.wraps(command)
        def run(*args: Any, settings: Settings, **rest: Any) -> Any:
            plugins = Plugins.load(tuple(dict.fromkeys((*settings.plugins, *names))))
            plugins.configure(settings.plugin_options)  # refuses wrong options before the store is opened
            with closing(open_store(settings.store, settings)) as store:
                if not store.exists():
                    raise StartupError(f"store: no store at {settings.store}. Set --store or FHIRSTORE_STORE.")
                contexts = plugins.contexts(settings.plugin_options, store=store)
                return command(*args, context=contexts.of(plugin), **rest)

        return with_settings("store", "plugin")(run)

    return decorate
