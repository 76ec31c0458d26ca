"""The language of a response, chosen by Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4.

The diagnostics of OperationOutcomes are translated. Requests without the header, and those that prefer English, cost
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from fhirstore.errors import translation
from fhirstore.messages.catalogue import read_catalogue
from fhirstore.messages.translations import read_translations
from fhirstore.model.messages import Message
from fhirstore.plugins.manager import Plugins

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    Headers = list[tuple[str, str]]

ENGLISH = "en"
OWN = Path(__file__).parents[1] / "messages"
"""The folder of fhirstore's own catalogues: fr.po, …"""
_MAX_HEADER = 1000
"""Characters of Accept-Language that are read."""

Render = Callable[[str], str]
"""Renders a text in one language. A text that is not a `Message`, or has no translation, is returned unchanged."""


def catalogues(plugins: Plugins) -> dict[str, Render]:
    """Language -> what renders messages in it, by fhirstore's own catalogue and those of the plugins. Raises
    StartupError."""
    files: dict[str, list[Path]] = {}
    for file in sorted((*OWN.glob("*.po"), *OWN.glob("*.txt"))):
        files.setdefault(file.stem, []).append(file)
    for translations in plugins.hook.translations():
        for language, path in (translations or {}).items():
            # A plugin can have both files until all its texts are Messages.
            both = {Path(path), Path(path).with_suffix(".po")}
            files.setdefault(language, []).extend(sorted(file for file in both if file.exists() or file == Path(path)))
    return {language: _renderer(language, found) for language, found in files.items()}


def _renderer(language: str, files: list[Path]) -> Render:
    """Until all texts are Messages: those that are not are looked up among the templates of the .txt files."""
    messages = read_translations(language, *(file for file in files if file.suffix == ".po"))
    texts = read_catalogue(*(file for file in files if file.suffix != ".po"))

    def render(text: str) -> str:
        return messages.render(text) if isinstance(text, Message) else texts.translate(text)

    return render


ENVIRON = "fhirstore.language"
"""The key of the language in the WSGI environment; absent for English."""


@lru_cache(maxsize=256)
def preferred(header: str, available: tuple[str, ...]) -> str:
    """The language of `available` that the header prefers, English if it accepts none of them.

    Regions do not count: fr-CA asks for fr. Of languages with the same quality, the first one is chosen."""
    qualities: dict[str, float] = {}
    for language, quality in parse_accept_header(header[:_MAX_HEADER], LanguageAccept):
        qualities.setdefault(language.partition("-")[0].lower(), quality)
    others = qualities.get("*", 0.0)
    candidates = [language for language in qualities if language in available]
    candidates += [language for language in available if language not in qualities]
    best = max(candidates, key=lambda language: qualities.get(language, others), default=ENGLISH)
    return best if qualities.get(best, others) > 0 else ENGLISH


class Translated:
    """WSGI middleware that answers in the languages of the catalogues."""

    def __init__(self, app: WSGIApplication, known: Mapping[str, Render]):
        self._app, self._known = app, known
        self._available = (ENGLISH, *known)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        header = environ.get("HTTP_ACCEPT_LANGUAGE")
        language = preferred(header, self._available) if header else ENGLISH
        if language == ENGLISH:
            return self._app(environ, start_response)
        environ[ENVIRON] = language
        recorder = _Recorder(self._known[language])

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            if recorder.has_translated:
                headers = [(n, v) for n, v in headers if n.lower() not in ("content-language", "vary")] + [
                    ("Content-Language", language),
                    ("Vary", _with_language(headers)),
                ]
            return start_response(status, headers, exc_info)

        token = translation.set(recorder.render)
        try:
            # The body is complete when the application returns, so nothing is translated after the reset.
            return self._app(environ, start)
        finally:
            translation.reset(token)


def _with_language(headers: Headers) -> str:
    names = [name.strip() for n, v in headers if n.lower() == "vary" for name in v.split(",")]
    return ", ".join(dict.fromkeys([*names, "Accept-Language"]))


class _Recorder:
    """Renders the texts of one response and notes whether one of them was translated."""

    def __init__(self, render: Render):
        self._render, self.has_translated = render, False

    def render(self, text: str) -> str:
        rendered = self._render(text)
        self.has_translated = self.has_translated or rendered != text
        return rendered
