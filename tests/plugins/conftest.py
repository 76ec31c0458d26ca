"""Plugins made in the test: packages on disk, and distributions with entry points on the import path."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def package(tmp_path: Path) -> Callable[..., Path]:
    """package(folder, *resources, name=…, version=…, dependencies=…): the folder of a FHIR package."""

    def make(folder: str, *resources: dict[str, Any], **manifest: Any) -> Path:
        path = tmp_path / folder
        path.mkdir()
        (path / "package.json").write_text(json.dumps({"name": folder, "version": "1.0.0"} | manifest))
        for number, resource in enumerate(resources):
            (path / f"{number}.json").write_text(json.dumps(resource))
        return path

    return make


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """installed(name, source): a distribution with a module of that source, declared as plugin `name`."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    modules = []

    def make(name: str, source: str) -> None:
        module = f"{name}_module"
        modules.append(module)
        (site / f"{module}.py").write_text(source)
        info = site / f"dist_{name}-2.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 2.1\n")
        (info / "entry_points.txt").write_text(f"[fhirstore.plugins]\n{name} = {module}\n")

    yield make
    for module in modules:
        sys.modules.pop(module, None)
