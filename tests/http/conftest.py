"""A server with every R4 type on a fresh SQLite file, spoken to through its WSGI interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template


@pytest.fixture(scope="session")
def template() -> Template:
    return Template.make()


@pytest.fixture
def make_api(template: Template, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Makes an Api with other settings than the defaults."""
    made: list[Api] = []

    def make(**changed: Any) -> Api:
        made.append(template.fresh(tmp_path / f"{len(made)}.db", **changed))
        return made[-1]

    yield make
    for api in made:
        api.ctx.store.close()


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    return make_api()
