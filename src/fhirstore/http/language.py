"""Answers in the language that Accept-Language asks for: the texts of OperationOutcomes, wherever they stand.

Nothing is done for a request without the header, or one that wants English.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fhirstore.errors import translation
from fhirstore.messages.catalogue import Catalogue, read_catalogue
from fhirstore.messages.language import ENGLISH, preferred
from fhirstore.plugins.manager import Plugins

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Headers = list[tuple[str, str]]

OWN = Path(__file__).parents[1] / "messages"
"""The catalogues of fhirstore itself: fr.txt…"""


def catalogues(plugins: Plugins) -> dict[str, Catalogue]:
    """Language -> the catalogue of fhirstore and those of the plugins. Raises StartupError."""
    files: dict[str, list[Path]] = {file.stem: [file] for file in sorted(OWN.glob("*.txt"))}
    for given in plugins.hook.translations():
        for language, path in (given or {}).items():
            files.setdefault(language, []).append(Path(path))
    return {language: read_catalogue(*found) for language, found in files.items()}


class Translated:
    """The application, answering in the languages of the catalogues."""

    def __init__(self, app: WSGIApplication, known: Mapping[str, Catalogue]):
        self._app, self._known = app, known
        self._available = (ENGLISH, *known)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        header = environ.get("HTTP_ACCEPT_LANGUAGE")
        language = preferred(header, self._available) if header else ENGLISH
        if language == ENGLISH:
            return self._app(environ, start_response)
        spoken = _Spoken(self._known[language])

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            if spoken.is_used:
                headers = [(n, v) for n, v in headers if n.lower() not in ("content-language", "vary")] + [
                    ("Content-Language", language),
                    ("Vary", _with_language(headers)),
                ]
            return start_response(status, headers, exc_info)

        token = translation.set(spoken.translate)
        try:
            # Answers are finished bytes when they are given back, so nothing is translated later.
            return self._app(environ, start)
        finally:
            translation.reset(token)


def _with_language(headers: Headers) -> str:
    names = [name.strip() for n, v in headers if n.lower() == "vary" for name in v.split(",")]
    return ", ".join(dict.fromkeys([*names, "Accept-Language"]))


class _Spoken:
    """What is translated for one answer."""

    def __init__(self, catalogue: Catalogue):
        self._catalogue, self.is_used = catalogue, False

    def translate(self, text: str) -> str:
        found = self._catalogue.translate(text)
        self.is_used = self.is_used or found != text
        return found
