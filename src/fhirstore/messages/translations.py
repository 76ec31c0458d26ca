"""Catalogues of translated messages in gettext's PO format: https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html

A language is one file `<language>.po` here, and one of each plugin that translates its messages (hook `translations`).
`make messages` adds new messages to the files. See docs/adr/0019-messages-gettext.md.
"""

from __future__ import annotations

import io
import string
from collections.abc import Iterable, Iterator
from functools import lru_cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po

from fhirstore.errors import StartupError
from fhirstore.model.messages import Message


class Translations:
    """The translations into one language. Threads can share an instance."""

    def __init__(self, catalogues: Iterable[Catalog]):
        """catalogues: the first one that has a message is used for it."""
        self._translations = NullTranslations()
        for catalogue in catalogues:
            self._translations.add_fallback(_compiled(catalogue))

    def render(self, text: str) -> str:
        """The text in this language. A message without a translation stays English, and so does a plain string."""
        return text.render(self._template) if isinstance(text, Message) else text

    def _template(self, message: Message) -> str:
        if message.plural_template is None:
            return self._translations.gettext(message.template)
        number = int(str(message.parameters["count"]))
        return self._translations.ngettext(message.template, message.plural_template, number)


def _compiled(catalogue: Catalog) -> GNUTranslations:
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return GNUTranslations(compiled)


@lru_cache(maxsize=16)
def read_translations(language: str, *files: Path) -> Translations:
    """Reads the catalogues of one language ("fr"). Raises StartupError, with file and line, if a file cannot be read or
    if a translation has a field that its message does not have."""
    return Translations([read_catalogue(file, language) for file in files])


def read_catalogue(file: Path, language: str) -> Catalog:
    """The entries of one file. Raises StartupError."""
    try:
        catalogue = read_po(io.BytesIO(file.read_bytes()), locale=language, abort_invalid=True)
    except PoFileError as e:
        raise StartupError(f"{file}, line {e.lineno + 1}: the catalogue is not valid: {e}.") from None
    except (OSError, ValueError) as e:
        raise StartupError(f"{file}: the catalogue cannot be read: {e}.") from None
    for entry, problem in problems(catalogue):
        raise StartupError(f"{file}, line {entry.lineno}: {problem}.")
    return catalogue


def problems(catalogue: Catalog) -> Iterator[tuple[Entry, str]]:
    """The entries whose translation cannot be rendered, each with the reason."""
    for entry in catalogue:
        if not entry.id or not entry.string:
            continue
        try:
            known: set[str] = set().union(*map(fields, _forms(entry.id)))
            unknown: set[str] = set().union(*map(fields, _forms(entry.string))) - known
        except ValueError as e:
            yield entry, f"{entry.id!r} or its translation is not a template: {e}"
            continue
        if unknown:
            names = ", ".join(sorted(unknown))
            yield entry, f"the translation of {entry.id!r} has fields that the message does not have: {names}"


def fields(template: str) -> set[str]:
    """The names of the fields of a template. Raises ValueError if it is malformed."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _forms(text: str | Iterable[str]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)
