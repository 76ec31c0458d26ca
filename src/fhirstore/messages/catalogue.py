"""Finished English texts into another language: each is looked up among the templates that it can have come from.

The code writes its messages in English, as f-strings. A catalogue has, for each of them, the template with {0}, {1}…
for what is put in, and its translation. So nothing is to be done where a message is written, and nothing is done until
a client wants another language. A file of a catalogue holds pairs of lines, blank lines and remarks (#) between them:

    > The body is larger than {0} bytes (setting max_body_bytes).
    < Le corps dépasse {0} octets (réglage max_body_bytes).

A line that begins with + instead of > is a part of messages ("the string {0}") and never a whole one. {0:t} in the
second line: what stands there is a message or a part itself and is translated too. What no template fits is left as
it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fhirstore.errors import StartupError
from fhirstore.model.issues import MAX_TEXT

_PLACE = re.compile(r"\{(\d+)(:t)?\}")
_PLACED = re.compile(r"([A-Z]\w*(?:[.\[][^\s:]*)?): (.+)", re.DOTALL)
"""A message of the validation, behind the FHIRPath of its place."""
_WITHIN = re.compile(r"(.+) \[profile of ([^\[\]]+)\]", re.DOTALL)
"""A message about a value that must conform to a profile."""
_DEEPEST = 6
"""Messages inside of messages are translated down to here."""
_WORD = 5
"""A template of no more sure characters ("{0} in {1}") joins words only, never sentences."""
_END = 3
_MOST = 100
"""So many texts are looked up for one message, that nobody can make the server work on one for long."""


@dataclass(frozen=True, slots=True)
class Template:
    """pieces: the text before, between and behind what is put in; two things without text between them count as one.
    groups: for each gap between pieces the numbers of what stands in it. translation: as in the file. is_part: only
    found inside of other messages."""

    pieces: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]
    translation: str
    is_part: bool

    @property
    def weight(self) -> int:
        """How many characters are sure, more where the end is sure: of several templates that fit the heaviest is
        taken, and one that ends with what is put in takes all that follows for that."""
        return sum(map(len, self.pieces)) + (_END if self.pieces[-1] and len(self.pieces) > 1 else 0)

    def match(self, text: str) -> list[str] | None:
        """What stands in each gap, None = the text is not of this template. Each gap is as short as can be, which finds
        a match whenever there is one, in one pass; so no text can make it slow."""
        first, *others = self.pieces
        if not others:
            return [] if text == first else None
        last = others.pop()
        end = len(text) - len(last)
        if not (text.startswith(first) and text.endswith(last) and len(first) <= end):
            return None
        found, at = [], len(first)
        for piece in others:
            next_at = text.find(piece, at, end)
            if next_at < 0:
                return None
            found.append(text[at:next_at])
            at = next_at + len(piece)
        found.append(text[at:end])
        return found


class Catalogue:
    """The translations into one language. Threads may share it."""

    def __init__(self, templates: Iterable[Template]):
        # Texts in which nothing is put in go first, since only they can be meant.
        self._templates = sorted(templates, key=lambda t: (len(t.pieces) > 1, -t.weight, -sum(map(len, t.groups))))
        self.translate = lru_cache(maxsize=1024)(self._translated)

    def _translated(self, text: str) -> str:
        """The text in the language of the catalogue, or as it is."""
        if len(text) > 4 * MAX_TEXT:
            return text
        search = _Search(self._templates)
        return search.whole(text) or search.sentence(text) or text


_Found = tuple[str | None, bool]
"""A translation, None = there is none; and whether nothing in it is left as it was."""
_NOTHING: _Found = (None, False)


class _Search:
    """One text that is looked up, and the messages inside of it."""

    def __init__(self, templates: Sequence[Template]):
        self._templates = templates
        self._known: dict[tuple[str, bool], _Found] = {}
        self._left = _MOST

    def whole(self, text: str) -> str | None:
        """Of a message that stands alone, or behind its place."""
        if placed := _PLACED.fullmatch(text):
            rest = self.whole(placed[2])
            if rest is not None:
                return f"{placed[1]} : {rest}"
        if within := _WITHIN.fullmatch(text):
            rest = self.whole(within[1])
            if rest is not None:
                return f"{rest} [profile de {self._find(within[2], 1)[0] or within[2]}]"
        return self._find(text, 0)[0]

    def sentence(self, text: str) -> str | None:
        """Of a part that was made a sentence."""
        found = self._find(text[:1].lower() + text[1:-1], 0)[0] if text.endswith(".") else None
        return f"{found[:1].upper()}{found[1:]}." if found is not None else None

    def _find(self, text: str, depth: int) -> _Found:
        """By the heaviest template by which nothing in it is left untranslated, or else by the heaviest."""
        key = (text, depth == 0)
        if key in self._known or not self._left or depth > _DEEPEST:
            return self._known.get(key, _NOTHING)
        self._left -= 1
        self._known[key] = best = _NOTHING
        for template in self._templates:
            found = template.match(text)
            if found is None or (template.is_part and depth == 0) or not _are_words(template, found):
                continue
            rendered = self._render(template, found, depth)
            if best is _NOTHING or rendered[1]:
                best = rendered
            if rendered[1]:
                break
        self._known[key] = best
        return best

    def _render(self, template: Template, found: list[str], depth: int) -> _Found:
        values: dict[int, str] = {}
        for group, text in zip(template.groups, found, strict=True):
            values.update(zip(group, self._parted(text, len(group), depth), strict=True))
        is_complete = True

        def put(place: re.Match[str]) -> str:
            nonlocal is_complete
            value = values[int(place[1])]
            if not place[2] or not value:
                return value
            inner, has_all = self._find(value, depth + 1)
            is_complete = is_complete and has_all
            return inner or value

        return _PLACE.sub(put, template.translation), is_complete

    def _parted(self, text: str, parts: int, depth: int) -> list[str]:
        """What stands in one gap, in so many parts: the later ones are remarks, which have a translation of their own
        and begin with a mark ("; did you mean …?")."""
        out = []
        for _ in range(parts - 1):
            cut = next((at for at in _marks(text) if self._find(text[at:], depth + 1)[0] is not None), len(text))
            out.append(text[:cut])
            text = text[cut:]
        return [*out, text]


def _marks(text: str) -> Iterator[int]:
    return (at for at, character in enumerate(text) if text[at : at + 2] in ("; ", " (") or character == "…")


def _are_words(template: Template, found: list[str]) -> bool:
    """Of a template like "{0} in {1}": whether it is about names, not sentences that happen to have the word."""
    return template.weight > _WORD or not any(" " in text for text in found)


@lru_cache(maxsize=16)
def read_catalogue(*files: Path) -> Catalogue:
    """The templates of all files, read once. Raises StartupError, which names the file and line."""
    return Catalogue(template for file in files for template in _read(file))


def pairs(file: Path) -> Iterator[tuple[int, str, str, bool]]:
    """(line, English, translation, whether it is a part) of each pair. Raises StartupError."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise StartupError(f"{file}: the catalogue cannot be read: {e}.") from None
    english: str | None = None
    is_part = False
    for number, line in enumerate(lines, 1):
        mark, text = line[:2], line[2:]
        if mark in ("> ", "+ ") and english is None:
            english, is_part = text, mark == "+ "
        elif mark == "< " and english is not None:
            yield number, english, text, is_part
            english = None
        elif line.strip() and not line.startswith("#"):
            raise StartupError(f"{file}, line {number}: a line > in English and then a line < with its translation.")
    if english is not None:
        raise StartupError(f"{file}: the last text has no translation.")


def _read(file: Path) -> Iterator[Template]:
    for number, english, translation, is_part in pairs(file):
        placed = [int(m[1]) for m in _PLACE.finditer(english)]
        wanted = {int(m[1]) for m in _PLACE.finditer(translation)}
        if placed != list(range(len(placed))) or not wanted <= set(placed):
            raise StartupError(
                f"{file}, line {number}: {{0}}, {{1}}… are wanted in this order in English, and no others below."
            )
        yield _template(english, translation, is_part)


def _template(english: str, translation: str, is_part: bool) -> Template:
    pieces = re.split(r"\{\d+\}", english)
    kept: list[str] = [pieces[0]]
    groups: list[list[int]] = []
    for number, piece in enumerate(pieces[1:]):
        if number and pieces[number] == "":
            groups[-1].append(number)
            kept[-1] = piece
        else:
            groups.append([number])
            kept.append(piece)
    return Template(tuple(kept), tuple(map(tuple, groups)), translation, is_part)
