"""A plugin that is not written for the surface is refused at start-up, in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fhirstore.errors import StartupError
from fhirstore.plugins.checks import check_imports
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins

Install = Callable[[str, str], None]


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(StartupError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    return text


def hook(function: str) -> str:
    return f"from fhirstore.plugins import hookimpl\n@hookimpl\n{function}\n"


# --- hooks ------------------------------------------------------------------------------------------


def test_an_unknown_hook_is_refused_with_the_known_ones(installed: Install) -> None:
    installed("faulty", hook("def validat(write): pass"))
    text = refusal(lambda: Plugins.load(["faulty"]))
    assert text.startswith(
        "plugin faulty (dist-faulty 2.1): validat is not a hook. Did you mean validate? Hooks: after_commit, audit, "
    )


@pytest.mark.parametrize(
    ("function", "argument"),
    [
        ("def validate(write, colour): pass", "colour"),
        ("def validate(*write): pass", "*write"),
        ("def validate(**anything): pass", "**anything"),
        ("def validate(store): pass", "store"),
    ],
)
def test_an_unknown_argument_is_refused_with_the_allowed_ones(installed: Install, function: str, argument: str) -> None:
    installed("faulty", hook(function))
    assert refusal(lambda: Plugins.load(["faulty"])) == (
        f"plugin faulty (dist-faulty 2.1): hook validate has no argument {argument!r}. "
        "Arguments: request, write, requirements, context."
    )


def test_an_argument_with_a_default_is_refused_because_it_would_keep_it(installed: Install) -> None:
    installed("faulty", hook("def validate(write=None): pass"))
    assert refusal(lambda: Plugins.load(["faulty"])) == (
        "plugin faulty (dist-faulty 2.1): argument 'write' of hook validate must not have a default."
    )


def test_a_hook_without_arguments_says_so(installed: Install) -> None:
    installed("faulty", hook("def packages(context): pass"))
    assert "hook packages has no argument 'context'. Arguments: none." in refusal(lambda: Plugins.load(["faulty"]))


# --- imports ----------------------------------------------------------------------------------------

FORBIDDEN = [
    ("import fhirstore.store.protocol", "fhirstore.store.protocol"),
    ("import json, fhirstore.settings as s", "fhirstore.settings"),
    ("import fhirstore", "fhirstore"),
    ("from fhirstore import __version__", "fhirstore.__version__"),
    ("from fhirstore.errors import FhirError", "fhirstore.errors.FhirError"),
    ("from fhirstore.plugins.hookspecs import Write", "fhirstore.plugins.hookspecs.Write"),
    ("from fhirstore.plugins import Write, manager", "fhirstore.plugins.manager"),
    ("from fhirstore.plugins import (\n    Write,  # a write\n    context,\n)", "fhirstore.plugins.context"),
    ("def late():\n    from fhirstore.server import build", "fhirstore.server.build"),
    ("if False:\n    from fhirstore.search.results import run", "fhirstore.search.results.run"),
]


@pytest.mark.parametrize(("code", "name"), FORBIDDEN)
def test_an_import_outside_of_the_surface_is_refused(installed: Install, code: str, name: str) -> None:
    installed("faulty", f"x = 1\n{code}\n")
    text = refusal(lambda: Plugins.load(["faulty"]))
    assert text.startswith("plugin faulty (dist-faulty 2.1): /")
    assert f"faulty_module.py, line {3 if code[:3] in ('def', 'if ') else 2} imports {name}. " in text
    assert text.endswith("A plugin may import only the names of fhirstore.plugins; docs/plugins.md lists them.")


@pytest.mark.parametrize(
    "code",
    [
        "import fhirstore.plugins",
        "from fhirstore import plugins",
        "from fhirstore.plugins import (\n    Issue,  # one, two\n    Write as W,\n    hookimpl, typed,\n)",
        '"""Do not import fhirstore.store, nor from fhirstore.store import Store."""',
        "text = 'import fhirstore.store'",
        "try:\n    import fhirstore_other\nexcept ImportError:\n    pass",
    ],
)
def test_imports_of_the_surface_and_texts_are_allowed(installed: Install, code: str) -> None:
    installed("good", code + "\n")
    assert Plugins.load(["good"]).names == ("good",)


def test_all_modules_of_the_package_are_checked_before_any_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "clinic_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (package / "inner/late.py").write_text("from fhirstore.http.app import make_app\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = refusal(lambda: check_imports("plugin clinic", "clinic_package.hooks"))
    assert "inner/late.py, line 1 imports fhirstore.http.app.make_app" in text


# --- as a user sees it ------------------------------------------------------------------------------


def test_the_command_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "faulty_module.py").write_text("from fhirstore.store import open_store\n")
    info = tmp_path / "faulty-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[fhirstore.plugins]\nfaulty = faulty_module\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from fhirstore.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plugins", "--plugin", "faulty"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "plugin faulty (faulty 1)" in done.stderr


# --- the plugin's own context -----------------------------------------------------------------------


class Remembering:
    """A plugin that notes the contexts that it gets."""

    def __init__(self) -> None:
        self.seen: list[object] = []


def test_each_plugin_gets_its_own_context() -> None:
    from fhirstore.plugins import PluginContext, Principal, RequestContext, Write, hookimpl

    class One(Remembering):
        @hookimpl
        def validate(self, context: PluginContext, write: Write) -> None:
            self.seen += [context.plugin, write.id]

        @hookimpl
        def authenticate(self, context: PluginContext) -> Principal:
            return Principal(context.plugin)

    first, second = One(), One()
    plugins = Plugins([LoadedPlugin("first", "test", first), LoadedPlugin("second", "test", second)])
    contexts = plugins.contexts()
    write = Write("create", "Patient", "1", {})
    plugins.hook.validate(request=RequestContext(), write=write, requirements=[], context=contexts)
    assert (first.seen, second.seen) == (["first", "1"], ["second", "1"])
    assert plugins.hook.authenticate(http=None, context=contexts) == Principal("first")
    assert [name for name, _ in plugins.each("validate")] == ["first", "second"]
