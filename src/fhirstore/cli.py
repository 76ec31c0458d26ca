"""The command line: `fhirstore serve`, `load`, `validate`, `demo`, `reindex`, `indexes`, `migrate`, `export`,
`package`, `plugins`, and the commands of plugins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from fhirstore import __version__
from fhirstore.commands.demo import demo
from fhirstore.commands.export import export
from fhirstore.commands.indexes import indexes
from fhirstore.commands.jobs import jobs
from fhirstore.commands.load import load
from fhirstore.commands.migrate import migrate
from fhirstore.commands.options import context_decorator
from fhirstore.commands.package import package
from fhirstore.commands.plugins import plugins
from fhirstore.commands.reindex import reindex_command
from fhirstore.commands.serve import serve
from fhirstore.commands.validate import validate
from fhirstore.errors import StartupError
from fhirstore.plugins.loading import installed
from fhirstore.plugins.manager import Plugins
from fhirstore.plugins.model import Validator
from fhirstore.server import read_definitions
from fhirstore.settings import Settings
from fhirstore.settings_load import load_settings
from fhirstore.store.errors import StoreError
from fhirstore.validation.validator import ResourceValidator


class CommandError(click.ClickException):
    """A configuration or store error: one message on stderr, exit status 2."""

    exit_code = 2


class PluginGroup(click.Group):
    """A group that also has the commands of the configured plugins (hook `cli`)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as e:
            raise CommandError(str(e)) from e
        except StoreError as e:
            raise CommandError(f"store: {e}") from e

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_plugin_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name) or _plugin_commands(ctx).get(cmd_name)
        if found is None and cmd_name in installed():
            return _plugin_commands(ctx, cmd_name).get(cmd_name)
        return found


def _plugin_commands(ctx: click.Context, *implied: str) -> Mapping[str, click.Command]:
    """The commands of the plugins before the command, in the environment and in the configuration file.

    implied: further plugins. The command with the name of an installed plugin works without --plugin.
    """
    try:
        settings = load_settings({"plugins": ctx.params.get("plugins") or None})
        settings = replace(settings, plugins=tuple(dict.fromkeys((*settings.plugins, *implied))))
        group = click.Group()
        for plugin, add_commands in Plugins.load(settings.plugins).each("cli"):
            add_commands(
                group=group,
                validator=lambda: _validator(settings),
                with_context=context_decorator(plugin, *settings.plugins),
            )
    except StartupError as e:
        raise CommandError(str(e)) from e
    return group.commands


def _validator(settings: Settings) -> Validator:
    _, catalog = read_definitions(settings)
    return ResourceValidator(catalog).validate


@click.group(cls=PluginGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fhirstore %(version)s")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    is_eager=True,
    metavar="NAME|PATH",
    help="Plugin to load for the command; its own commands become available. Repeatable.",
)
def cli(plugins: tuple[str, ...]) -> None:
    """A FHIR R4 server, configured by CapabilityStatements and extended by FHIR packages."""


for _command in (serve, load, validate, demo, reindex_command, jobs, indexes, migrate, export, package, plugins):
    cli.add_command(_command)

main = cli
