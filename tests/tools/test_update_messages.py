"""The tool that brings the catalogues of messages up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.tool import load_tool

update_messages = load_tool("update_messages")

HEADER = r"""msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"
"""
CODE = '''
"""Not this one."""

def f(x):
    log.info("this is logged")
    raise error(400, "value", Message("The {x} is lost.", x=Message.plural("{count} hat", "{count} hats", x)))
'''
ENTRIES = """
msgid "The {x} is lost."
msgstr "{x} : perdu."

msgid "{count} hat"
msgid_plural "{count} hats"
msgstr[0] "{count} chapeau"
msgstr[1] "{count} chapeaux"
"""


Make = Callable[[str, str], object]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    def make(code: str, entries: str) -> object:
        (tmp_path / "new.py").write_text(code, "utf-8")
        (tmp_path / "fr.po").write_text(HEADER + entries, "utf-8")
        return update_messages.Project(tmp_path, tmp_path, ("new.py",))

    monkeypatch.setattr(update_messages, "ROOT", tmp_path)
    return make


def test_complete_catalogues_have_no_faults(project: Make) -> None:
    assert list(update_messages.faults(project(CODE, ENTRIES))) == []


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        (ENTRIES.replace("{x} : perdu.", ""), "'The {x} is lost.' has no translation"),
        (ENTRIES.replace('msgstr[1] "{count} chapeaux"', 'msgstr[1] ""'), "'{count} hats') has no translation"),
        (ENTRIES.replace('\nmsgid "The', '\n#, fuzzy\nmsgid "The'), "'The {x} is lost.' is fuzzy"),
        (ENTRIES.replace("{x} : perdu", "Perdu"), "the translation of 'The {x} is lost.' has other fields"),
        (ENTRIES + '\nmsgid "old"\nmsgstr "vieux"\n', "'old' is obsolete"),
    ],
)
def test_faults_of_catalogues_are_found(project: Make, entries: str, fault: str) -> None:
    (found,) = update_messages.faults(project(CODE, entries))
    assert found.startswith("fr.po: ")
    assert found.endswith(fault)


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ('error(400, "value", f"The {x + 1} is {x} lost.")', "The {} is {} lost."),
        ('Issue("error", "value", "lost")', "lost"),
        ('replace(issue, diagnostics=f"{x}: {issue.diagnostics}")', "{}: {}"),
        ('Issue("error", "value", "a" if x else Message("a"))', "a"),
        ('Issue("error", "value", "{} b".format(x))', "'{} b'.format(x)"),
        ('Issue("error", "value", x + "b")', "x + 'b'"),
        ('ValueError(f"The {x} is lost")', "The {} is lost"),
        ('error(400, "value", Message("The {x} is lost.", x=f"{x} or not"))', "{} or not"),
    ],
)
def test_texts_that_are_no_messages_are_found(project: Make, statement: str, text: str) -> None:
    found = list(update_messages.plain_texts(project(f"def f(x):\n    raise {statement}\n", "")))
    assert found == [f"new.py:2: {text!r} is no Message"]


def test_update_adds_and_drops_messages(project: Make, tmp_path: Path) -> None:
    made = project(CODE, '\nmsgid "The {x} is lost."\nmsgstr "{x} : perdu."\n\nmsgid "old"\nmsgstr "vieux"\n')
    assert list(update_messages.update(made)) == [tmp_path / "fr.po"]
    written = (tmp_path / "fr.po").read_text("utf-8")
    assert written.startswith(HEADER)
    assert 'msgstr "{x} : perdu."' in written
    assert 'msgid_plural "{count} hats"\nmsgstr[0] ""\nmsgstr[1] ""' in written
    assert "old" not in written
    assert list(update_messages.update(made)) == []


# --- this tree


PROJECTS = {"fhirstore": update_messages.FHIRSTORE, "sas": update_messages.SAS}


@pytest.mark.parametrize("made", PROJECTS.values(), ids=PROJECTS)
def test_messages_and_catalogues_have_no_faults(made: object) -> None:
    assert list(update_messages.faults(made)) == []


@pytest.mark.parametrize("made", PROJECTS.values(), ids=PROJECTS)
def test_the_catalogues_are_as_make_messages_writes_them(made: object, tmp_path: Path) -> None:
    files = list(made.catalogues.glob("*.po"))  # type: ignore[attr-defined]
    assert [file.name for file in files] == ["fr.po"]
    for file in files:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    copied = update_messages.Project(made.source, tmp_path, made.modules)  # type: ignore[attr-defined]
    assert list(update_messages.update(copied)) == []
