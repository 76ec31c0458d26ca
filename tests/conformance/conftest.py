"""A server with every R4 type and the SAS plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Template


@pytest.fixture(scope="session")
def sas_template() -> Template:
    return Template.make(plugins=("sas",))


@pytest.fixture
def sas(sas_template: Template, tmp_path: Path) -> Iterator[Api]:
    api = sas_template.fresh(tmp_path / "store.db")
    yield api
    api.ctx.store.close()
