"""A server with every R4 type and the SAS plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Template
from support.mongo import Mongo


@pytest.fixture(scope="session")
def sas_template() -> Template:
    return Template.make(plugins=("sas",))


@pytest.fixture(scope="module", params=["sqlite", "replica"])
def shared_sas(
    sas_template: Template, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Api]:
    """For tests that do not mind the resources of other tests of their module."""
    folder = tmp_path_factory.mktemp("shared")
    server: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    api = sas_template.fresh(folder / "store.db" if server is None else server.url(folder))
    yield api
    api.ctx.store.close()
    if server is not None:
        server.drop(folder)


@pytest.fixture(params=["sqlite", "replica"])
def sas(sas_template: Template, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Api]:
    server: Mongo | None = None if request.param == "sqlite" else request.getfixturevalue(request.param)
    api = sas_template.fresh(tmp_path / "store.db" if server is None else server.url(tmp_path))
    yield api
    api.ctx.store.close()
    if server is not None:
        server.drop(tmp_path)
