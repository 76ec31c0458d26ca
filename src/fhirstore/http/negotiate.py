"""Media types, _format and Prefer: https://hl7.org/fhir/R4/http.html#mime-type and #ops."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from werkzeug.http import parse_options_header

from fhirstore.errors import error

FHIR_JSON = "application/fhir+json"
JSON_TYPES = frozenset((FHIR_JSON, "application/json+fhir", "application/json", "text/json"))
_WILDCARDS = frozenset(("*/*", "application/*", "text/*"))
_OFFER = f"{FHIR_JSON} (also as application/json+fhir, application/json or text/json)"
CONTENT_TYPE = f"{FHIR_JSON};charset=utf-8"


def _acceptable(media: str, options: dict[str, str]) -> bool:
    version = options.get("fhirVersion") or options.get("fhirversion")
    charset = options.get("charset", "utf-8").lower()
    return version in (None, "4.0", "4.0.1") and charset in ("utf-8", "utf8", "us-ascii")


@lru_cache(maxsize=512)
def check_accept(accept: str | None, format: str | None) -> None:
    """Raises 406 unless JSON of FHIR 4.0 is acceptable. `_format` wins over Accept."""
    if format is not None:
        # A "+" that was not percent-encoded arrives as a blank.
        media, options = parse_options_header(format.strip().replace(" ", "+"))
        if media == "json" or (media in JSON_TYPES and _acceptable(media, options)):
            return
        raise error(406, "not-supported", f"_format={format[:80]} is not served; {_OFFER} is.", "http._format")
    if not accept:
        return
    for part in accept.split(","):
        media, options = parse_options_header(part.strip())
        media = media.lower()
        if (media in JSON_TYPES or media in _WILDCARDS) and _acceptable(media, options) and options.get("q") != "0":
            return
    raise error(406, "not-supported", f"Accept: {accept[:120]} cannot be served; {_OFFER} can.", "http.Accept")


@lru_cache(maxsize=512)
def check_content_type(given: str | None) -> None:
    """Raises 415 unless a request body of this Content-Type is FHIR JSON."""
    if given:
        media, options = parse_options_header(given)
        if media.lower() in JSON_TYPES and _acceptable(media, options):
            return
    text = f"Content-Type is {given[:120]!r}" if given else "Content-Type is missing"
    raise error(415, "not-supported", f"{text}; {_OFFER} in UTF-8 is wanted.", "http.Content-Type")


@dataclass(frozen=True, slots=True)
class Prefer:
    """returns: minimal | representation | OperationOutcome. strict: Prefer: handling=strict."""

    returns: str = "representation"
    strict: bool = False


@lru_cache(maxsize=512)
def read_prefer(header: str | None) -> Prefer:
    """https://www.rfc-editor.org/rfc/rfc7240; preferences that are not known are ignored."""
    returns, strict = "representation", False
    for part in (header or "").replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "return" and value in ("minimal", "representation", "OperationOutcome"):
            returns = value
        elif name.strip().lower() == "handling":
            strict = value == "strict"
    return Prefer(returns, strict)
