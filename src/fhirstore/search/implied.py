"""The code systems that the definition of a token parameter implies.

A `code` element has no system of its own. Its required binding implies one, so that
`gender=http://hl7.org/fhir/administrative-gender|male` works: https://hl7.org/fhir/R4/search.html#token.
"""

from __future__ import annotations

import re
from functools import lru_cache

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element

_BOOLEANS = frozenset((("http://hl7.org/fhir/special-values", "true"), ("http://hl7.org/fhir/special-values", "false")))
_PATH = re.compile(r"\w+(\.\w+)+")
_NONE: frozenset[tuple[str, str]] = frozenset()


@lru_cache(maxsize=4096)
def implied_codings(core: Definitions, type: str, expression: str) -> frozenset[tuple[str, str]]:
    """The (system, code) pairs that values without a system stand for. Empty if none is implied.

    expression: that of the search parameter."""
    found = _NONE
    for branch in expression.split(" | "):
        path = branch.strip()
        if path.partition(".")[0] != type or not _PATH.fullmatch(path):
            continue
        element = _element(core, path)
        if element is not None and len(element.types) == 1:
            if element.types[0].code == "boolean":
                found |= _BOOLEANS
            elif element.types[0].code == "code" and element.binding and element.binding.strength == "required":
                found |= core.expansion(element.binding.value_set) or _NONE
    return found


def _element(core: Definitions, path: str) -> Element | None:
    """The element at a path such as Patient.contact.gender."""
    here, *names = path.split(".")
    element: Element | None = None
    for name in names:
        node = core.node(here)
        element = node.elements.get(name) if node else None
        if element is None:
            return None
        here = element.node or (element.types[0].code if element.types else "")
    return element
