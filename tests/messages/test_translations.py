"""Catalogues in the PO format, and what is rendered from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fhirstore.errors import StartupError
from fhirstore.messages.translations import Translations, read_translations
from fhirstore.model.messages import Message

HEADER = r"""
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\n"
"Plural-Forms: nplurals=2; plural=(n > 1);\n"
"""
SAMPLE = (
    HEADER
    + """
msgid "{what} is not {wanted}"
msgstr "{what} n'est pas {wanted}"

msgid "the string {given}"
msgstr "la chaîne {given}"

msgid "{place} has {given}"
msgstr "{given} figure dans {place}"

msgid "{count} value"
msgid_plural "{count} values"
msgstr[0] "{count} valeur"
msgstr[1] "{count} valeurs"

msgid "still to do"
msgstr ""

#, fuzzy
msgid "a guess"
msgstr "une supposition"
"""
)


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Translations]:
    def translations(*texts: str) -> Translations:
        files = [tmp_path / str(n) / "fr.po" for n in range(len(texts))]
        for file, text in zip(files, texts, strict=True):
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")
        read_translations.cache_clear()
        return read_translations("fr", *files)

    return translations


@pytest.mark.parametrize(
    ("message", "french"),
    [
        (Message("the string {given}", given="'x'"), "la chaîne 'x'"),
        (Message("{place} has {given}", place="a", given="b"), "b figure dans a"),
        (
            Message("{what} is not {wanted}", what=Message("the string {given}", given="{}"), wanted="true"),
            "la chaîne {} n'est pas true",
        ),
        (Message.plural("{count} value", "{count} values", 0), "0 valeur"),
        (Message.plural("{count} value", "{count} values", 1), "1 valeur"),
        (Message.plural("{count} value", "{count} values", 2), "2 valeurs"),
        (Message("still to do"), "still to do"),
        (Message("a guess"), "a guess"),
        (Message("unknown {what}", what=Message("the string {given}", given="x")), "unknown la chaîne x"),
        ("the string 'x'", "the string 'x'"),
        ("", ""),
    ],
)
def test_messages_are_rendered_by_their_templates(read: Callable[..., Translations], message: str, french: str) -> None:
    assert read(SAMPLE).render(message) == french


def test_the_first_catalogue_that_has_a_message_counts(read: Callable[..., Translations]) -> None:
    first = HEADER + 'msgid "a"\nmsgstr "un"\n'
    second = HEADER + 'msgid "a"\nmsgstr "deux"\n\nmsgid "b {n}"\nmsgstr "bé {n}"\n'
    translations = read(first, second)
    assert [translations.render(m) for m in (Message("a"), Message("b {n}", n=1))] == ["un", "bé 1"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nonsense\n", r"line 1: the catalogue is not valid"),
        (HEADER + 'msgid "a"\n', r"line 6: the catalogue is not valid"),
        (HEADER + '\nmsgid "{a} b"\nmsgstr "{c} {a}"\n', r"line 7: .* has fields that the message does not have: c"),
        (HEADER + '\nmsgid "{a} b"\nmsgstr "{0}"\n', r"line 7: .* does not have: 0"),
        (HEADER + '\nmsgid "{a} b"\nmsgstr "{a"\n', r"line 7: .* is not a template"),
        (HEADER + '\nmsgid "a {n}"\nmsgid_plural "as {n}"\nmsgstr[0] "{n}"\nmsgstr[1] "{m}"\n', r"line 7: .*: m\."),
    ],
    ids=["no po", "no translation", "other field", "number", "brace", "plural"],
)
def test_a_faulty_catalogue_is_refused_with_its_line(
    read: Callable[..., Translations], text: str, problem: str
) -> None:
    with pytest.raises(StartupError, match=r"fr\.po, " + problem):
        read(text)


def test_a_catalogue_needs_neither_a_header_nor_a_known_language(tmp_path: Path) -> None:
    file = tmp_path / "hats.po"
    file.write_text('msgid "a hat"\nmsgstr "é"\n', "utf-8")
    assert [read_translations(language, file).render(Message("a hat")) for language in ("fr", "xx")] == ["é", "é"]


def test_a_missing_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"fr\.po: the catalogue cannot be read"):
        read_translations("fr", tmp_path / "fr.po")


def test_a_catalogue_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "fr.po"
    file.write_bytes(b'msgid "a"\nmsgstr "\xe9"\n')
    with pytest.raises(StartupError, match=r"fr\.po: the catalogue cannot be read"):
        read_translations("fr", file)
