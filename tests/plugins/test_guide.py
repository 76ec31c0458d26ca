"""The example plugin of docs/plugins.md works as the page says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.api import Api, Template, patient

from fhirstore.errors import StartupError
from fhirstore.http.app import make_app
from fhirstore.plugins.manager import Plugins

GUIDE = (Path(__file__).resolve().parents[2] / "docs/plugins.md").read_text("utf-8")
Install = Callable[[str, str], None]


@pytest.fixture
def clinic(tmp_path: Path, installed: Install) -> Plugins:
    """The plugin of the section "Write a plugin", with an empty package beside its module."""
    [source] = re.findall(r'```python\n("""clinic_plugin:.*?)```', GUIDE, re.DOTALL)
    installed("clinic", source)
    package = tmp_path / "site/package"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"name": "clinic.package", "version": "1.0.0"}))
    return Plugins.load(["clinic"])


@pytest.mark.parametrize(("options", "family"), [((), "MARTIN"), (("clinic.capitals=off",), "Martin")])
def test_the_example_changes_names_unless_its_option_is_off(
    tmp_path: Path, clinic: Plugins, options: tuple[str, ...], family: str
) -> None:
    plain = Template.make().fresh(tmp_path / "t.db")
    settings = replace(plain.ctx.settings, plugin_options=options)
    server = replace(plain.ctx, plugins=clinic, settings=settings)
    stored = Api(make_app(server), server).created(patient("Martin"))
    assert stored["name"][0]["family"] == family
    plain.ctx.store.close()


@pytest.mark.parametrize("entry", ["clinic.capitals=maybe", "clinic.capital=on"])
def test_wrong_options_are_refused_with_the_texts_of_the_page(clinic: Plugins, entry: str) -> None:
    with pytest.raises(StartupError) as caught:
        clinic.configure([entry])
    assert f"\n{caught.value}\n" in GUIDE
