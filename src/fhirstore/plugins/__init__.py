"""What a plugin may import, all of it: this module, `fhirstore.plugins.typed` and `fhirstore.errors`.

A hook is a function named as in `hookspecs` and decorated with `hookimpl`; docs/plugins.md tells how to write one.
"""

from __future__ import annotations

from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.errors import FhirError, Issue, StartupError, error
from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    MAX_TIME,
    MIN_TIME,
    And,
    Chain,
    Condition,
    Date,
    Ids,
    LastUpdated,
    Not,
    Number,
    Or,
    Present,
    Reference,
    ReverseChain,
    Sort,
    String,
    Token,
    Uri,
)
from fhirstore.model.context import Principal
from fhirstore.model.indexing import CompoundIndex
from fhirstore.model.messages import Message, conjunction, disjunction
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.queries import Include, Query, ResourceView, SearchEntry, ViewedResponse
from fhirstore.model.stored import (
    Guard,
    Record,
    RecordGuard,
    Stored,
)
from fhirstore.plugins.hookspecs import (
    ConditionalMatch,
    HttpRequest,
    OperationRequest,
    PendingCommit,
    PluginOperation,
    PluginOption,
    SearchResponse,
    Validator,
    Write,
    hookimpl,
)
from fhirstore.plugins.operator import (
    Deployment,
    Metric,
    OperatorPage,
    Sample,
)
from fhirstore.plugins.stored import resource_of
from fhirstore.search.paging import read_token, write_token
from fhirstore.search.values import date_interval
from fhirstore.store.errors import GuardChanged, StoreError
from fhirstore.store.protocol import Store, with_snapshot

__all__ = [
    "MATCH_ALL",
    "MATCH_NONE",
    "MAX_TIME",
    "MIN_TIME",
    "And",
    "Chain",
    "CompoundIndex",
    "Condition",
    "ConditionalMatch",
    "Date",
    "Deployment",
    "FhirError",
    "Guard",
    "GuardChanged",
    "HttpRequest",
    "Ids",
    "Include",
    "Issue",
    "LastUpdated",
    "Message",
    "Metric",
    "Not",
    "Number",
    "OperationRequest",
    "OperatorPage",
    "Or",
    "PendingCommit",
    "PluginOperation",
    "PluginOption",
    "Present",
    "Principal",
    "ProfileRequirement",
    "Query",
    "Record",
    "RecordGuard",
    "Reference",
    "Registry",
    "ResourceView",
    "ReverseChain",
    "Sample",
    "SearchEntry",
    "SearchParam",
    "SearchResponse",
    "ServedType",
    "Sort",
    "StartupError",
    "Store",
    "StoreError",
    "Stored",
    "String",
    "Token",
    "Uri",
    "Validator",
    "ViewedResponse",
    "Write",
    "conjunction",
    "date_interval",
    "disjunction",
    "error",
    "hookimpl",
    "read_token",
    "resource_of",
    "with_snapshot",
    "write_token",
]
