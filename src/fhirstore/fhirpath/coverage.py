"""Every operator, function and variable of FHIRPath in R4, and how this package evaluates it.

Sources: http://hl7.org/fhirpath/N1/ and https://hl7.org/fhir/R4/fhirpath.html. `tests/fhirpath/test_coverage.py`
evaluates an example of each entry.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from fhirstore.fhirpath.ast import Expression, FunctionCall, descend

Support = Literal["native", "partial", "library", "missing"]


class Coverage(NamedTuple):
    """support: native (compiled to closures) | partial (native in the cases that `reason` names, else fhirpathpy) |
    library (fhirpathpy) | missing (an expression that uses it is refused). reason: why it is not native."""

    support: Support
    reason: str = ""


_NATIVE = Coverage("native")
_TYPES = Coverage(
    "partial", "native for resources and where the structure tables give the type; fhirpathpy for values of any type"
)

OPERATORS: dict[str, Coverage] = {
    **dict.fromkeys(("=", "!=", "~", "!~", "<", "<=", ">", ">="), _NATIVE),
    **dict.fromkeys(("and", "or", "xor", "implies", "|", "in", "contains"), _NATIVE),
    **dict.fromkeys(("+", "-", "*", "/", "div", "mod", "&", "[]", "."), _NATIVE),
    "is": _TYPES,
    "as": _TYPES,
}

FUNCTIONS: dict[str, Coverage] = {
    # existence
    **dict.fromkeys(("empty", "exists", "all", "allTrue", "anyTrue", "allFalse", "anyFalse"), _NATIVE),
    **dict.fromkeys(("subsetOf", "supersetOf", "count", "distinct", "isDistinct", "not"), _NATIVE),
    # filtering, projection, subsetting, combining
    **dict.fromkeys(("where", "select", "repeat"), _NATIVE),
    **dict.fromkeys(("is", "as", "ofType"), _TYPES),
    **dict.fromkeys(("single", "first", "last", "tail", "skip", "take", "intersect", "exclude"), _NATIVE),
    **dict.fromkeys(("union", "combine"), _NATIVE),
    # conversion
    "iif": _NATIVE,
    **dict.fromkeys(
        (
            f"{prefix}{name}"
            for prefix in ("to", "convertsTo")
            for name in ("Boolean", "Integer", "Date", "DateTime", "Decimal", "Quantity", "String", "Time")
        ),
        _NATIVE,
    ),
    # strings
    **dict.fromkeys(("indexOf", "substring", "startsWith", "endsWith", "contains", "upper", "lower"), _NATIVE),
    **dict.fromkeys(("replace", "matches", "replaceMatches", "length", "toChars"), _NATIVE),
    # math
    **dict.fromkeys(("abs", "ceiling", "exp", "floor", "ln", "log", "power", "round", "sqrt", "truncate"), _NATIVE),
    # tree, utility, aggregates
    **dict.fromkeys(("children", "descendants", "trace", "now", "timeOfDay", "today", "aggregate"), _NATIVE),
    "type": Coverage("library", "reflection needs the types of values at run time"),
    # FHIR
    **dict.fromkeys(("extension", "hasValue", "getValue", "resolve", "memberOf", "conformsTo"), _NATIVE),
    "hasExtension": Coverage("partial", "not part of R4; native in the criteria of search expressions only"),
    "elementDefinition": Coverage("missing", "definitions are tables here, not ElementDefinition resources"),
    "slice": Coverage("missing", "slices are evaluated by profile validation, not by expressions"),
    "checkModifiers": Coverage("missing", "modifier extensions are checked by profile validation"),
    "subsumes": Coverage("missing", "subsumption is available as the operation CodeSystem/$subsumes only"),
    "subsumedBy": Coverage("missing", "subsumption is available as the operation CodeSystem/$subsumes only"),
    "htmlChecks": Coverage("missing", "narratives are checked by validation itself (txt-1, txt-2)"),
}

VARIABLES: dict[str, Coverage] = {
    **dict.fromkeys(("$this", "$index", "$total", "%context", "%resource", "%rootResource"), _NATIVE),
    **dict.fromkeys(("%ucum", "%sct", "%loinc", "%vs-[name]", "%ext-[name]"), _NATIVE),
}


def check_functions(expression: Expression) -> None:
    """Raises ValueError for a function that does not exist, and for one that is missing here."""
    for call in descend(expression):
        if not isinstance(call, FunctionCall):
            continue
        found = FUNCTIONS.get(call.name)
        if found is None:
            raise ValueError(f"{expression.text!r}: there is no function {call.name}()")
        if found.support == "missing":
            raise ValueError(f"{expression.text!r}: the function {call.name}() is not supported: {found.reason}")
