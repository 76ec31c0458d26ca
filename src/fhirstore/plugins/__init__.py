"""The names that a plugin may import. docs/plugins.md explains them.

A hook is a function named as in `hookspecs` and decorated with `hookimpl`. A plugin that imports anything else of
fhirstore is refused at start-up.
"""

from __future__ import annotations

from fhirstore.capability.registry import Registry, SearchParam, ServedType
from fhirstore.errors import FhirError, Issue, StartupError, error, translate
from fhirstore.jobs.breaker import CircuitBreaker
from fhirstore.jobs.facade import PluginJobs
from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import Done, Job, JobState, Outcome, Progress, QueueOptions, Rejected, Retry, RetryPolicy
from fhirstore.jobs.run import JobInterrupted, JobRun
from fhirstore.jobs.stats import JobCounts
from fhirstore.jobs.summary import QueueSummary
from fhirstore.messages.translations import read_translations
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
from fhirstore.model.context import InteractionSummary, Principal, RequestContext
from fhirstore.model.indexing import CompoundIndex
from fhirstore.model.messages import Message, conjunction, disjunction, series, text_of
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.model.queries import Include, Query, ResourceView, SearchEntry, ViewedResponse
from fhirstore.model.stored import Guard, Record, RecordGuard, Stored
from fhirstore.plugins import typed
from fhirstore.plugins.configuration import OptionError, option
from fhirstore.plugins.context import PluginContext, PluginRecords, ResourceReader, resource_of
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.model import (
    ConditionalCriteria,
    ConditionalMatch,
    HttpRequest,
    OperationRequest,
    PendingCommit,
    PluginOperation,
    SearchResponse,
    Validator,
    Write,
)
from fhirstore.plugins.operator import Metric, OperatorPage, Sample
from fhirstore.search.values import date_interval
from fhirstore.store.errors import GuardChanged, StoreError
from fhirstore.store.protocol import ResultPage
from fhirstore.tls.client import client_context

__all__ = [
    "MATCH_ALL",
    "MATCH_NONE",
    "MAX_TIME",
    "MIN_TIME",
    "And",
    "Chain",
    "CircuitBreaker",
    "CompoundIndex",
    "Condition",
    "ConditionalCriteria",
    "ConditionalMatch",
    "Date",
    "Done",
    "FhirError",
    "Guard",
    "GuardChanged",
    "HttpRequest",
    "Ids",
    "Include",
    "InteractionSummary",
    "Issue",
    "Job",
    "JobCounts",
    "JobHandler",
    "JobInterrupted",
    "JobRun",
    "JobState",
    "LastUpdated",
    "Message",
    "Metric",
    "Not",
    "Number",
    "OperationRequest",
    "OperatorPage",
    "OptionError",
    "Or",
    "Outcome",
    "PendingCommit",
    "PluginContext",
    "PluginJobs",
    "PluginOperation",
    "PluginRecords",
    "Present",
    "Principal",
    "ProfileRequirement",
    "Progress",
    "Query",
    "QueueOptions",
    "QueueSummary",
    "Record",
    "RecordGuard",
    "Reference",
    "Registry",
    "Rejected",
    "RequestContext",
    "ResourceReader",
    "ResourceView",
    "ResultPage",
    "Retry",
    "RetryPolicy",
    "ReverseChain",
    "Sample",
    "SearchEntry",
    "SearchParam",
    "SearchResponse",
    "ServedType",
    "Sort",
    "StartupError",
    "StoreError",
    "Stored",
    "String",
    "Token",
    "Uri",
    "Validator",
    "ViewedResponse",
    "Write",
    "client_context",
    "conjunction",
    "date_interval",
    "disjunction",
    "error",
    "hookimpl",
    "option",
    "read_translations",
    "resource_of",
    "series",
    "text_of",
    "translate",
    "typed",
]
