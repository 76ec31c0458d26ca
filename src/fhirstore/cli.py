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
from fhirstore.commands.load import load
from fhirstore.commands.migrate import migrate
from fhirstore.commands.options import deployment_decorator
from fhirstore.commands.package import package
from fhirstore.commands.plugins import plugins
from fhirstore.commands.reindex import reindex
from fhirstore.commands.serve import serve
from fhirstore.commands.validate import validate
from fhirstore.errors import StartupError
from fhirstore.plugins.hookspecs import Validator
from fhirstore.plugins.manager import Plugins, installed
from fhirstore.server import read_definitions
from fhirstore.settings import Settings
from fhirstore.settings_load import load_settings
from fhirstore.store.errors import StoreError
from fhirstore.validation.validator import ResourceValidator


class Refused(click.ClickException):
    """What cannot start as configured, or go on: one message on stderr, exit status 2."""

    exit_code = 2


class Cli(click.Group):
    """Looks for commands it does not know among those that the configured plugins add (hook `cli`)."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except StartupError as e:
            raise Refused(str(e)) from e
        except StoreError as e:
            raise Refused(f"store: {e}") from e

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_added(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name) or _added(ctx).get(cmd_name)
        if found is None and cmd_name in installed():
            return _added(ctx, cmd_name).get(cmd_name)
        return found


def _added(ctx: click.Context, *more: str) -> Mapping[str, click.Command]:
    """The commands of the plugins named before the command, in the environment, or in the configuration file, and of
    `more`: an installed plugin need not be named for the command that has its name."""
    try:
        settings = load_settings({"plugins": ctx.params.get("plugins") or None})
        settings = replace(settings, plugins=tuple(dict.fromkeys((*settings.plugins, *more))))
        group = click.Group()
        Plugins.load(settings.plugins).hook.cli(
            group=group,
            validator=lambda: _load_validate(settings),
            with_deployment=deployment_decorator(*settings.plugins),
        )
    except StartupError as e:
        raise Refused(str(e)) from e
    return group.commands


def _load_validate(settings: Settings) -> Validator:
    _, catalog = read_definitions(settings)
    return ResourceValidator(catalog).validate


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="fhirstore %(version)s")
@click.option(
    "--plugin",
    "plugins",
    multiple=True,
    is_eager=True,
    metavar="NAME|PATH",
    help="A plugin, for every command and for the commands it adds (may be repeated).",
)
def cli(plugins: tuple[str, ...]) -> None:
    """fhirstore: a FHIR R4 server configured by CapabilityStatements and extended by FHIR packages."""


for _command in (serve, load, validate, demo, reindex, indexes, migrate, export, package, plugins):
    cli.add_command(_command)

main = cli
