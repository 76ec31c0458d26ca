"""Media types, _format and Prefer: https://hl7.org/fhir/R4/http.html#mime-type and #ops."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_dict_header, parse_options_header

from fhirstore.errors import error
from fhirstore.model.context import Preferences
from fhirstore.model.messages import Message

FHIR_JSON = "application/fhir+json"
JSON_TYPES = (FHIR_JSON, "application/json+fhir", "application/json", "text/json")
_OFFER = Message("{fhir_json} (also as application/json+fhir, application/json or text/json)", fhir_json=FHIR_JSON)
CONTENT_TYPE = f"{FHIR_JSON};charset=utf-8"


def _is_r4(options: Mapping[str, str]) -> bool:
    version = options.get("fhirVersion") or options.get("fhirversion")
    charset = options.get("charset", "utf-8").lower()
    return version in (None, "4.0", "4.0.1") and charset in ("utf-8", "utf8", "us-ascii")


def _covers(media_range: str, media_type: str) -> bool:
    kind, _, subtype = media_range.partition("/")
    return media_range == "*/*" or media_range == media_type or (subtype == "*" and media_type.startswith(f"{kind}/"))


@lru_cache(maxsize=512)
def check_accept(accept: str | None, format: str | None) -> None:
    """Raises 406 unless the client accepts JSON of FHIR 4.0. `_format` takes precedence over Accept.

    https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1"""
    if format is not None:
        # A "+" that was not percent-encoded arrives as a space.
        media, options = parse_options_header(format.strip().replace(" ", "+"))
        if media == "json" or (media in JSON_TYPES and _is_r4(options)):
            return
        text = Message("_format={format} is not supported. Use {offer}.", format=format[:80], offer=_OFFER)
        raise error(406, "not-supported", text, "http._format")
    if not accept:
        return
    quality: dict[str, float] = {}
    for value, q in parse_accept_header(accept, MIMEAccept):
        media, options = parse_options_header(value)
        if _is_r4(options):
            quality[media.lower()] = max(q, quality.get(media.lower(), 0.0))
    for media_type in JSON_TYPES:
        ranges = [r for r in quality if _covers(r, media_type)]
        # The most specific range decides: an exact type before type/*, before */*.
        if ranges and quality[min(ranges, key=lambda r: r.count("*"))] > 0:
            return
    raise error(
        406,
        "not-supported",
        Message("Accept: {accept} cannot be satisfied. Use {offer}.", accept=accept[:120], offer=_OFFER),
        "http.Accept",
    )


@lru_cache(maxsize=512)
def check_content_type(given: str | None) -> None:
    """Raises 415 unless a request body of this Content-Type is FHIR JSON."""
    if given:
        media, options = parse_options_header(given)
        if media.lower() in JSON_TYPES and _is_r4(options):
            return
        text = Message(
            "Content-Type {given} is not supported. Use {offer} in UTF-8.", given=repr(given[:120]), offer=_OFFER
        )
    else:
        text = Message("Content-Type is required. Use {offer} in UTF-8.", offer=_OFFER)
    raise error(415, "not-supported", text, "http.Content-Type")


@lru_cache(maxsize=512)
def check_content_encoding(given: str | None) -> None:
    """Raises 415 for a request body in a Content-Encoding: https://www.rfc-editor.org/rfc/rfc9110#section-8.4."""
    if given is None or given.strip().lower() in ("", "identity"):
        return
    text = Message("Content-Encoding {given} is not supported. Send the body without one.", given=repr(given[:80]))
    raise error(415, "not-supported", text, "http.Content-Encoding", headers={"Accept-Encoding": "identity"})


@lru_cache(maxsize=512)
def read_preferences(header: str | None) -> Preferences:
    """https://www.rfc-editor.org/rfc/rfc7240; unknown preferences are ignored."""
    if not header:
        return Preferences()
    given = {name.lower(): value for name, value in parse_dict_header(header.replace(";", ",")).items()}
    returns = given.get("return")
    strict = given.get("handling") == "strict"
    if returns == "minimal":
        return Preferences("minimal", strict)
    if returns == "representation":
        return Preferences("representation", strict)
    return Preferences("OperationOutcome" if returns == "OperationOutcome" else None, strict)
