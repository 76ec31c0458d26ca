"""A server on an empty SQLite file, and plugins that record what they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template

from fhirstore.errors import error
from fhirstore.interactions.server import Server
from fhirstore.model.context import InteractionSummary, RequestContext
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins


@dataclass
class Observer:
    """A plugin that records interactions, and refuses those of `refused`."""

    refused: frozenset[tuple[str, str | None]] = frozenset()
    authorized: list[InteractionSummary] = field(default_factory=list)
    audited: list[tuple[InteractionSummary, int]] = field(default_factory=list)

    @hookimpl
    def authorize(self, request: RequestContext, interaction: InteractionSummary) -> None:
        self.authorized.append(interaction)
        if (interaction.name, interaction.type) in self.refused:
            raise error(403, "forbidden", f"{interaction.name} on {interaction.type} is not allowed.")

    @hookimpl
    def audit(self, interaction: InteractionSummary, status: int) -> None:
        self.audited.append((interaction, status))


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.make()


@pytest.fixture
def server(template: Template, tmp_path: Path) -> Server:
    return template.fresh(tmp_path / "t.db").ctx


@pytest.fixture
def observed(server: Server) -> Callable[..., tuple[Server, Observer]]:
    """Makes a server with an observer. refused: (interaction, type) pairs."""

    def make(*refused: tuple[str, str | None], **settings: Any) -> tuple[Server, Observer]:
        observer = Observer(frozenset(refused))
        plugins = Plugins([LoadedPlugin("observer", "test", observer)])
        return replace(server, plugins=plugins, settings=replace(server.settings, **settings)), observer

    return make


@pytest.fixture
def make_api(template: Template, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes an Api. All of one test share the store, like the workers of a server."""
    made: list[Api] = []

    def make(**changed: Any) -> Api:
        made.append(template.fresh(tmp_path / "terms.db", **changed))
        return made[-1]

    yield make
    for api in made:
        api.ctx.store.close()


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
