"""Every message that a client may read has its French."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import messages

    yield messages
    sys.modules.pop("messages", None)


def test_every_message_is_translated(messages: object) -> None:
    assert list(messages.untranslated(messages.translated())) == []  # type: ignore[attr-defined]


def test_nothing_is_translated_that_is_not_said_any_more(messages: object) -> None:
    said = messages.all_texts() | messages.FOREIGN  # type: ignore[attr-defined]
    words = {text for text in messages.translated() if not messages._PROSE.search(text)}  # type: ignore[attr-defined]
    assert messages.translated() - said - words == set()  # type: ignore[attr-defined]


def test_a_new_message_is_found(messages: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "ROOT", tmp_path)
    (tmp_path / "new.py").write_text(
        '"""Not this one."""\n\ndef f(x):\n    return error(400, f"The {x + 1} is {x} lost.")\n'
    )
    found = list(messages.untranslated(set(), tmp_path, ("new.py",)))  # type: ignore[attr-defined]
    assert found == ["new.py:4: The {0} is {1} lost."]
