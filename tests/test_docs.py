"""Checks the documentation and runs its sample requests."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
from flask.testing import FlaskClient

from fhirstore.cli import cli
from fhirstore.http.app import make_app
from fhirstore.plugins import hookspecs
from fhirstore.server import build
from fhirstore.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "docs/requests").glob("*.http"))


def test_the_documentation_has_no_problems() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools/check_docs.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def check_docs(root: Path) -> ModuleType:
    """tools/check_docs.py with another root folder."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "tools/check_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = root  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("docs/a.md", "see [b](b.md)", "docs/a.md: the target of the link b.md does not exist"),
        (
            "docs/a.md",
            "see [b](../settings.md#none)",
            "docs/a.md: the target of the link ../settings.md#none does not exist",
        ),
        (
            "docs/a.md",
            "see [b](settings.md#none)",
            "docs/a.md: settings.md has no heading for the link settings.md#none",
        ),
        ("docs/a.md", "by `test_b.py::test_c`", "docs/a.md: the test test_b.py::test_c does not exist"),
        ("docs/a.md", "in /root/x", "docs/a.md:1: '/root/' is not allowed"),
        ("a.py", "# TODO more", "a.py:1: 'TODO' is not allowed"),
        ("src/fhirstore/settings.py", "class Settings:\n    a: int = 2\n", "docs/settings.md: the default of a is `2`"),
        (
            "src/fhirstore/settings.py",
            "class Settings:\n    b: int = 1\n",
            "docs/settings.md: the setting b is missing",
        ),
        (
            "src/fhirstore/settings.py",
            "class Settings:\n    a: int = 1\n    b: int = 1\n    'It counts.'\n",
            "src/fhirstore/settings.py: a has no description",
        ),
        (
            "src/fhirstore/settings.py",
            "class Settings:\n    # --- Other ---\n    a: int = 1\n    'It counts.'\n",
            "docs/settings.md: a is in the section 'Limits' instead of 'Other'",
        ),
        (
            "docs/settings.md",
            "# Settings\n\n## Limits\n\n| `a` | `1` | is good |\n| `c` | `1` | is good |\n",
            "docs/settings.md: c is not a setting",
        ),
    ],
)
def test_a_problem_is_found(
    name: str, text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, content in {
        "docs/settings.md": "# Settings\n\n## Limits\n\n| `a` | `1` | is good |\n",
        "src/fhirstore/settings.py": "class Settings:\n    # --- Limits ---\n    a: int = 1\n    'It counts.'\n",
        name: text,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert check_docs(tmp_path).main() == 1
    assert problem in capsys.readouterr().out.splitlines()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    server = build(Settings(store=f"sqlite:///{tmp_path}/docs.db"))
    yield make_app(server).test_client()
    server.store.close()


@pytest.mark.parametrize("file", SAMPLES, ids=lambda f: f.name)
def test_the_sample_requests_give_the_stated_status(file: Path, client: FlaskClient) -> None:
    for part in re.split(r"^### ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n\n")
        title, request, *headers = head.splitlines()
        expected = re.search(r"→ (\d{3})$", title)
        assert expected is not None, f"{file.name}, {title}: the title has no status"
        method, url = request.split(" ", 1)
        response = client.open(
            url.replace("{{base}}", "/fhir"),
            method=method,
            headers=dict(h.split(": ", 1) for h in headers),
            data=body.strip().encode() or None,
        )
        assert response.status_code == int(expected[1]), f"{file.name}, {title}: {response.text}"


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text("utf-8")
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "fhirstore_spec")]
    assert hooks
    assert [name for name in hooks if f"`{name}`" not in text] == []


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


@pytest.mark.parametrize(("path", "command"), [pytest.param(*c, id=" ".join(c[0])) for c in commands(cli)])
def test_every_command_and_its_options_are_documented(path: tuple[str, ...], command: click.Command) -> None:
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    section = text.partition(f"\n## {path[0]}\n")[2].partition("\n## ")[0]
    assert f"fhirstore {' '.join(path)}" in section
    shared = {"config", "store", "capability", "plugins", "package_folder"}
    of_serve = {p.name for p in cli.commands["serve"].params} if path == ("demo",) else set()
    own = [p for p in command.params if isinstance(p, click.Option) and p.name not in shared | of_serve]
    assert [p.opts[0] for p in own if p.opts[0] not in section] == []
    assert [p.opts[0] for p in command.params if isinstance(p, click.Option) and not p.help] == []
