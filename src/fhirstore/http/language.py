"""The language of a response, chosen by Accept-Language: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4.

The diagnostics of OperationOutcomes are translated. Requests without the header, and those that prefer English, cost
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from fhirstore.messages.translations import read_translations
from fhirstore.plugins.manager import Plugins

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
    for file in sorted(OWN.glob("*.po")):
        files[file.stem] = [file]
    for translations in plugins.hook.translations():
        for language, path in (translations or {}).items():
            files.setdefault(language, []).append(Path(path))
    return {language: read_translations(language, *found).render for language, found in files.items()}


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
