"""Code systems that are defined by a grammar: https://hl7.org/fhir/R4/terminologies-systems.html

Languages (BCP 47), media types (BCP 13) and currencies (ISO 4217). The functions check the syntax of a code. They do
not check whether it is registered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

LANGUAGES = "urn:ietf:bcp:47"
MEDIA_TYPES = "urn:ietf:bcp:13"
CURRENCIES = "urn:iso:std:iso:4217"

# https://www.rfc-editor.org/rfc/rfc5646#section-2.1
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4}|[a-z]{5,8})(?:-[a-z]{4})?(?:-(?:[a-z]{2}|\d{3}))?"
    r"(?:-(?:[a-z\d]{5,8}|\d[a-z\d]{3}))*(?:-[a-wy-z\d](?:-[a-z\d]{2,8})+)*(?:-x(?:-[a-z\d]{1,8})+)?"
    r"|x(?:-[a-z\d]{1,8})+|i-[a-z]{3,8}|art-lojban|cel-gaulish|no-bok|no-nyn|sgn-[a-z]{2}-[a-z]{2}|zh-[a-z]+(?:-[a-z]+)?",
    re.IGNORECASE | re.ASCII,
)
# https://www.rfc-editor.org/rfc/rfc6838#section-4.2, with parameters: https://www.rfc-editor.org/rfc/rfc2045#section-5.1
_NAME = r"[A-Za-z\d][A-Za-z\d!#$&^_.+\-]{0,126}"
_TOKEN = r"[A-Za-z\d!#$%&'*+.^_`|~\-]+"
_VALUE = r'[!#-:<-~]+|"[^"\\]*"'  # FHIR writes canonicalization=http://… without quotation marks
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?: ?; ?{_TOKEN}=(?:{_VALUE}))*", re.ASCII)
_FORMATS = frozenset({"xml", "json", "ttl"})
"""CapabilityStatement.format also allows these: https://hl7.org/fhir/R4/capabilitystatement-definitions.html"""


def _is_media_type(code: str) -> bool:
    return code in _FORMATS or _MEDIA_TYPE.fullmatch(code) is not None


GRAMMARS: Mapping[str, Callable[[str], bool]] = {
    LANGUAGES: lambda code: _LANGUAGE.fullmatch(code) is not None,
    MEDIA_TYPES: _is_media_type,
    CURRENCIES: lambda code: len(code) == 3 and code.isascii() and code.isalpha() and code.isupper(),
}
"""Url of the code system -> whether a code is well-formed."""
