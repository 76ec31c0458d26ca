"""Bodies of requests: parsed only when an interaction asks for them."""

from __future__ import annotations

import copy
from typing import Any, Protocol

from fhirstore.errors import error
from fhirstore.formats.json import parse
from fhirstore.model.messages import Message

Parameters = list[tuple[str, str]]
"""The decoded pairs of a query string or a form, in order."""


class Body(Protocol):
    """The body of a request."""

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
