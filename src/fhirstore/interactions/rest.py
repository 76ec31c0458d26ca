"""Requests before their interaction is known, and results before HTTP or a Bundle entry represents them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from fhirstore.errors import FhirError, error
from fhirstore.formats.json import parse
from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored

Parameters = list[tuple[str, str]]


class Body(Protocol):
    """The body of a request. It is parsed only when an interaction asks for it."""

    def require_json(self) -> None:
        """Raises FhirError 415 unless the request states that its body is FHIR JSON, even if the body is empty.

        A web page of another site can send other types without asking the browser for permission."""
        ...

    def resource(self) -> dict[str, Any]:
        """The resource, parsed again at each call, because planning a write changes it.

        Raises FhirError 400, 413, 415 or 422."""
        ...

    def optional_resource(self) -> dict[str, Any] | None:
        """The resource, None if the body is empty. Raises FhirError like `resource`."""
        ...

    def form(self) -> Parameters:
        """The decoded pairs of a form. Raises FhirError 400, 413 or 415."""
        ...


class RawBody:
    """A body given as JSON. max_nesting: as for `formats.json.parse`."""

    def __init__(self, raw: bytes, max_nesting: int):
        self._raw, self._max_nesting = raw, max_nesting

    def require_json(self) -> None:
        """JSON by definition."""

    def resource(self) -> dict[str, Any]:
        return parse(self._raw, self._max_nesting)

    def optional_resource(self) -> dict[str, Any] | None:
        return parse(self._raw, self._max_nesting) if self._raw else None

    def form(self) -> Parameters:
        raise error(415, "not-supported", Message("The body is a resource, not a form."))


class ParsedBody:
    """A body that is given as a parsed resource, or None if it is empty. The resource is not changed."""

    def __init__(self, parsed: dict[str, Any] | None):
        self._parsed = parsed

    def require_json(self) -> None:
        """JSON by definition."""

    def resource(self) -> dict[str, Any]:
        if self._parsed is None:
            raise error(400, "required", Message("A resource is required."))
        return copy.deepcopy(self._parsed)

    def optional_resource(self) -> dict[str, Any] | None:
        return copy.deepcopy(self._parsed)

    def form(self) -> Parameters:
        raise error(415, "not-supported", Message("The body is a resource, not a form."))


@dataclass(frozen=True, slots=True)
class RestRequest:
    """method: in upper case; HEAD is given as GET. path: the segments of the URL below the base.
    query: the query string as received, None without a question mark. parameters: the decoded query string.
    if_match, if_none_match: the versions of the header ("*" for any), None if the header is absent.
    entry: FHIRPath of the Bundle entry ("Bundle.entry[3]"), None for an HTTP request."""

    method: str
    path: tuple[str, ...]
    body: Body
    query: str | None = None
    parameters: Parameters = field(default_factory=list)
    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since: str | None = None
    if_none_exist: str | None = None
    entry: str | None = None

    @property
    def url(self) -> str:
        """Relative to the base, with the query string."""
        return "/".join(self.path) + (f"?{self.query}" if self.query is not None else "")

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter, None if it is absent."""
        return next((v for n, v in self.parameters if n == name), None)


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an interaction. status: the HTTP status. stored: the version concerned, whose resource is the body.
    body: a finished resource instead of that of `stored`. is_outcome: whether `body` is an OperationOutcome.
    has_location: whether a Location header is due; versioned_location: with /_history/<vid>.
    issues: for Prefer: return=OperationOutcome."""

    status: int
    stored: Stored | None = None
    body: bytes | None = None
    is_outcome: bool = False
    has_location: bool = False
    versioned_location: bool = True
    issues: tuple[Issue, ...] = ()

    @property
    def location(self) -> str | None:
        """Relative to the base: Patient/1/_history/2."""
        if not self.has_location or self.stored is None:
            return None
        return f"{self.stored.ref}/_history/{self.stored.version}" if self.versioned_location else self.stored.ref


def query_pairs(text: str) -> Parameters:
    """The decoded pairs of a query string, in order; empty values are kept.

    Raises FhirError 400 for percent-escapes that are not UTF-8, and for more than 2000 pairs."""
    try:
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=2000)
    except UnicodeDecodeError:
        raise _bad_query(Message("The query string contains percent-escapes that are not UTF-8.")) from None
    except ValueError as e:
        raise _bad_query(Message("The query string cannot be parsed: {reason}.", reason=e)) from None


def _bad_query(text: str) -> FhirError:
    return error(400, "invalid", text)
