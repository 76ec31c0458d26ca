"""Values of HTTP headers that also occur in entries of a Bundle."""

from __future__ import annotations

from werkzeug.http import parse_etags


def read_versions(header: str) -> tuple[str, ...]:
    """The versions that If-Match or If-None-Match names (https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1):
    ("*",) for any. Weak and strong tags are equal, because FHIR's tags are weak (https://hl7.org/fhir/R4/http.html#versioning).
    Tags without quotes are accepted."""
    tags = parse_etags(header)
    # werkzeug gives None for an empty tag ("").
    return ("*",) if tags.star_tag else tuple(tag or "" for tag in tags.as_set(include_weak=True))
