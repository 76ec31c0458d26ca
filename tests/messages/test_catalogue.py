"""Finished texts and the templates that they can have come from."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhirstore.errors import StartupError
from fhirstore.http.language import OWN
from fhirstore.messages.catalogue import Catalogue, Template, pairs, read_catalogue

SAMPLE = """
# a remark
> {0} is not {1}{2}
< {0:t} n'est pas {1:t}{2:t}
> {0}; the URL says {1}.
< {0:t} ; l'URL dit {1}.
+ the string {0}
< la chaîne {0}
+ resourceType is {0}
< resourceType vaut {0}
> a number
< un nombre
+ ; did you mean {0}?
<  ; vouliez-vous dire {0} ?
> {0} of {1} goes before {2}
< {2} suit {0} de {1}
> the limit is {0}
< la limite est {0}
+ {0} in {1}
< {0} dans {1}
"""


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str], Catalogue]:
    def catalogue(text: str) -> Catalogue:
        file = tmp_path / "fr.txt"
        file.write_text(text, "utf-8")
        read_catalogue.cache_clear()
        return read_catalogue(file)

    return catalogue


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ("a of b goes before c", "c suit a de b"),
        ("a of b of c goes before d", "d suit a de b of c"),
        ("the string 'x' is not a number", "la chaîne 'x' n'est pas un nombre"),
        ("the string '' is not a number; did you mean 1?", "la chaîne '' n'est pas un nombre ; vouliez-vous dire 1 ?"),
        ("resourceType is 'A'; the URL says B.", "resourceType vaut 'A' ; l'URL dit B."),
        ("Patient.name[0].id: the string '' is not a number", "Patient.name[0].id : la chaîne '' n'est pas un nombre"),
        ("Slot: the limit is 3 [profile of Slot.x in http://a]", "Slot : la limite est 3 [profile de Slot.x dans http://a]"),
        ("The limit is 3.", "La limite est 3."),
        ("the string 'x'", "the string 'x'"),
        ("x in y", "x in y"),
        ("nothing of this is known", "nothing of this is known"),
        ("", ""),
    ],
)  # fmt: skip
def test_texts_are_translated_with_what_is_inside_of_them(
    make: Callable[[str], Catalogue], english: str, french: str
) -> None:
    assert make(SAMPLE).translate(english) == french


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("> a\n> b\n< c\n", "line 2: a line > in English and then a line <"),
        ("< a\n", "line 1"),
        ("nonsense\n", "line 1"),
        ("> a\n", "the last text has no translation"),
        ("> {1} a\n< {1}\n", "line 2: {0}, {1}… are wanted"),
        ("> {0} a\n< {1}\n", "line 2: {0}, {1}… are wanted"),
    ],
)
def test_a_catalogue_that_cannot_be_read_names_its_line(
    make: Callable[[str], Catalogue], text: str, wanted: str
) -> None:
    with pytest.raises(StartupError) as refusal:
        make(text)
    assert wanted in str(refusal.value)


def test_a_missing_catalogue_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="the catalogue cannot be read"):
        read_catalogue(tmp_path / "none.txt")


@given(st.lists(st.text("ab .;:[(", max_size=12), min_size=4, max_size=4))
def test_what_was_put_in_comes_out_again(values: list[str]) -> None:
    """Whatever is put into a message of our own: it is found, and what stands in it stays."""
    text = "The Bundle has {} entries; the maximum is {} (setting max_bundle_entries).".format(*values)
    french = read_catalogue(OWN / "fr.txt").translate(text)
    assert french == "Le Bundle a {} entrées ; le maximum est {} (réglage max_bundle_entries).".format(*values)


def filled(english: str, french: str) -> tuple[str, str]:
    """Both texts with something put in: words, and where that is translated too, a part or a remark."""
    given, wanted = [], []
    for n in range(len(re.findall(r"\{\d+\}", english))):
        remark = f"}}{{{n}}}" in english
        one = ("; did you mean 1?", " ; vouliez-vous dire 1 ?") if remark else ("an object", "un objet")
        is_translated = f"{{{n}:t}}" in french
        given.append(one[0] if is_translated else f"X{n}")
        wanted.append(one[1] if is_translated else f"X{n}")
    return english.format(*given), french.replace(":t}", "}").format(*wanted)


def test_every_translation_of_our_own_is_found_by_its_template() -> None:
    """No template is hidden behind another one: each text is translated as its own line says."""
    own = read_catalogue(OWN / "fr.txt")
    both = [filled(english, french) for _, english, french, is_part in pairs(OWN / "fr.txt") if not is_part]
    assert [(english, own.translate(english)) for english, wanted in both if own.translate(english) != wanted] == []


@pytest.mark.parametrize(
    "text",
    [
        "; [(" * 500 + " is not a property of " + "; (" * 500,
        "x: " * 600,
        "is not " * 280,
        " (" * 1000,
        "[profile of " * 160,
    ],
    ids=["marks", "places", "words", "brackets", "profiles"],
)
def test_no_text_keeps_the_server_busy(text: str) -> None:
    looked_up = 0

    class Counting(Template):
        def match(self, text: str) -> list[str] | None:
            nonlocal looked_up
            looked_up += 1
            return super().match(text)

    one = Counting(("", " is not a property of ", ""), ((0,), (1, 2)), "{0:t} {1:t} {2:t}", False)
    Catalogue([one]).translate(text)
    assert looked_up <= 100
