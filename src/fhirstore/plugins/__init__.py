"""What a plugin may import, all of it: this module, `fhirstore.plugins.typed` and `fhirstore.errors`.

A hook is a function named as in `hookspecs` and decorated with `hookimpl`; docs/plugins.md tells how to write one.
"""

from __future__ import annotations

from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.errors import FhirError, Issue, StartupError, error
from fhirstore.plugins.hookspecs import (
    Answer,
    AnswerEntry,
    Caller,
    ConditionalMatch,
    HttpRequest,
    Write,
    hookimpl,
)
from fhirstore.search.query import Include, Query
from fhirstore.store.base import (
    EVERYTHING,
    MAX_TIME,
    MIN_TIME,
    NOTHING,
    All,
    AnyOf,
    Compound,
    Condition,
    Date,
    Ids,
    Linked,
    LinkedFrom,
    Not,
    Number,
    Present,
    Record,
    Ref,
    Sort,
    Store,
    Stored,
    Text,
    Token,
    Updated,
    Uri,
)

__all__ = [
    "EVERYTHING",
    "MAX_TIME",
    "MIN_TIME",
    "NOTHING",
    "All",
    "Answer",
    "AnswerEntry",
    "AnyOf",
    "Caller",
    "Compound",
    "Condition",
    "ConditionalMatch",
    "Date",
    "FhirError",
    "HttpRequest",
    "Ids",
    "Include",
    "Issue",
    "Linked",
    "LinkedFrom",
    "Not",
    "Number",
    "Present",
    "Query",
    "Record",
    "Ref",
    "Registry",
    "SearchParam",
    "ServedType",
    "Sort",
    "StartupError",
    "Store",
    "Stored",
    "Text",
    "Token",
    "Updated",
    "Uri",
    "Write",
    "error",
    "hookimpl",
]
