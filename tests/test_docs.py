"""The documentation is checked, and its request samples are run."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flask.testing import FlaskClient

from fhirstore.http.app import make_app
from fhirstore.plugins import hookspecs
from fhirstore.server import build
from fhirstore.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((ROOT / "docs/requests").glob("*.http"))


def test_the_documentation_has_no_faults() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools/check_docs.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def check_docs(root: Path) -> ModuleType:
    """tools/check_docs.py, looking at another folder."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "tools/check_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.ROOT = root
    return module


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("docs/a.md", "see [b](b.md)", "docs/a.md: the link b.md leads nowhere"),
        ("docs/a.md", "see [b](../settings.md#none)", "docs/a.md: the link ../settings.md#none leads nowhere"),
        (
            "docs/a.md",
            "see [b](settings.md#none)",
            "docs/a.md: the link settings.md#none names no heading of settings.md",
        ),
        ("docs/a.md", "by `test_b.py::test_c`", "docs/a.md: there is no test test_b.py::test_c"),
        ("docs/a.md", "in /root/x", "docs/a.md:1: '/root/' must not stand here"),
        ("a.py", "# TODO more", "a.py:1: 'TODO' must not stand here"),
        ("src/fhirstore/settings.py", "class Settings:\n    a: int = 2\n", "docs/settings.md: the default of a is `2`"),
        (
            "src/fhirstore/settings.py",
            "class Settings:\n    b: int = 1\n",
            "docs/settings.md: the setting b is missing",
        ),
    ],
)
def test_a_fault_is_found(name: str, text: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, content in {
        "docs/settings.md": "# Settings\n\n| `a` | `1` | is good |\n",
        "src/fhirstore/settings.py": "class Settings:\n    a: int = 1\n",
        name: text,
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    assert check_docs(tmp_path).main() == 1
    assert fault in capsys.readouterr().out.splitlines()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[FlaskClient]:
    server = build(Settings(store=f"sqlite:///{tmp_path}/docs.db"))
    yield make_app(server).test_client()
    server.store.close()


@pytest.mark.parametrize("file", SAMPLES, ids=lambda f: f.name)
def test_the_request_samples_answer_what_they_say(file: Path, client: FlaskClient) -> None:
    for part in re.split(r"^### ", file.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n\n")
        title, request, *headers = head.splitlines()
        wanted = re.search(r"→ (\d{3})$", title)
        assert wanted is not None, f"{file.name}, {title}: the status that is answered is missing"
        method, url = request.split(" ", 1)
        answer = client.open(
            url.replace("{{base}}", "/fhir"),
            method=method,
            headers=dict(h.split(": ", 1) for h in headers),
            data=body.strip().encode() or None,
        )
        assert answer.status_code == int(wanted[1]), f"{file.name}, {title}: {answer.text}"


def test_every_hook_is_documented() -> None:
    text = (ROOT / "docs/plugins.md").read_text("utf-8")
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "fhirstore_spec")]
    assert hooks
    assert [name for name in hooks if f"`{name}`" not in text] == []
