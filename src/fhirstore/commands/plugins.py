"""`fhirstore plugins`: lists the loaded plugins and what each contributes."""

from __future__ import annotations

from importlib.metadata import entry_points

import click
from rich.console import Console
from rich.table import Column, Table

from fhirstore.commands.options import with_settings
from fhirstore.plugins.configuration import OptionDescription
from fhirstore.plugins.loading import GROUP
from fhirstore.plugins.manager import Contribution
from fhirstore.server import read_definitions
from fhirstore.settings import Settings

_KINDS = (
    ("packages", "packages"),
    ("statements", "capability statements"),
    ("profiles", "profiles"),
    ("search_parameters", "search parameters"),
    ("value_sets", "value sets"),
    ("code_systems", "code systems"),
    ("hooks", "hooks"),
)


def _rows(plugin: Contribution) -> list[tuple[str, tuple[str, ...]]]:
    rows = [(title, getattr(plugin, name)) for name, title in _KINDS]
    rows.append(("indexes", tuple(f"{c.type}({', '.join(c.params)})" for c in plugin.compounds)))
    rows.append(("options", tuple(map(_option, plugin.options))))
    return [(title, values) for title, values in rows if values]


def _option(one: OptionDescription) -> str:
    default = f" (default: {one.default})" if one.default else ""
    return f"{one.name}={one.value}: {one.description} Allowed: {one.allowed}{default}."


@click.command()
@with_settings("plugin", "package_folder")
def plugins(settings: Settings) -> None:
    """List the loaded plugins and what each contributes."""
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # no line breaks in canonicals when the output goes to a pipe
    loaded, _ = read_definitions(settings)
    for plugin in loaded.describe(settings.plugin_options):
        table = Table("kind", "", Column("contents", overflow="fold"), title_justify="left", show_lines=True)
        table.title = f"{plugin.name} ({plugin.source})"
        for title, values in _rows(plugin):
            table.add_row(title, str(len(values)), "\n".join(values))
        console.print(table)
    if not settings.plugins:
        installed = ", ".join(sorted(p.name for p in entry_points(group=GROUP))) or "none"
        click.echo(f"No plugin is loaded. Load one with --plugin (installed: {installed}).")
