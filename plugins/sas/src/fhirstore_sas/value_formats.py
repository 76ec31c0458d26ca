"""The formats of times, addresses, phone numbers and identifiers in the SAS (SPEC §3.2, §10)."""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import urlsplit

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", re.ASCII)
INSTANT_FORMAT = "AAAA-MM-DDTHH:MM:SS.mmm±HH:MM"
PRACTITIONER_ID = re.compile(r"8\d{11}|0[0-9A-Z]{9}", re.ASCII)
FINESS = re.compile(r"1\d{9}", re.ASCII)
CORSICAN_FINESS = re.compile(r"12[AB]\d{7}", re.ASCII)
"""Valid, although neither the invariant nor the test kit accepts them (SPEC §20, no. 28)."""
SIRET = re.compile(r"3\d{14}", re.ASCII)
STRUCTURE_ID = re.compile(r"1\d{9}|[34]\d{14}|0[0-9A-Z]{9,}", re.ASCII)
PHONE = re.compile(r"\+(33|262|590|594|596)\d{9}", re.ASCII)
POSTAL_CODE = re.compile(r"\d{5}", re.ASCII)
BARE_OID = re.compile(r"\d+(\.\d+)+|oid:.*", re.ASCII | re.IGNORECASE)


def is_web_address(text: str) -> bool:
    """Whether the text is an absolute http(s) URL."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def instant(text: str) -> datetime | None:
    """The time of an instant with an offset; None for other texts."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
