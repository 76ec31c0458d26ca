"""The context of one request: who asks, how the response is to be written, and how long it may take."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of a request. subject: None if the caller is anonymous.

    Unless a plugin authenticates callers otherwise, the subject is the Common Name of the accepted client certificate,
    and its Organizational Units are the claim organizational_units (docs/tls.md)."""

    subject: str | None = None
    roles: frozenset[str] = frozenset()
    claims: dict[str, Any] = field(default_factory=dict)


ANONYMOUS = Principal()


@dataclass(frozen=True, slots=True)
class Preferences:
    """The Prefer header: https://hl7.org/fhir/R4/http.html#ops.

    returns: what a write returns, None if the client states no preference. strict: handling=strict."""

    returns: Literal["minimal", "representation", "OperationOutcome"] | None = None
    strict: bool = False


class RequestContext(msgspec.Struct, frozen=True):
    """What is known of a request apart from its interaction.

    base: the base of absolute URLs, without a trailing slash. language: the language of issues ("en", "fr").
    tenant: None on a server with a single tenant. deadline: `time.monotonic()` seconds after which work on the
    request is pointless, None if there is no limit. id: identifies the request in logs and responses."""

    base: str = ""
    principal: Principal = ANONYMOUS
    preferences: Preferences = Preferences()
    language: str = "en"
    tenant: str | None = None
    deadline: float | None = None
    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)

    def seconds_left(self) -> float | None:
        """Seconds until the deadline, at least 0. None if there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())


@dataclass(frozen=True, slots=True)
class InteractionSummary:
    """An interaction, as plugins that authorize and audit see it.

    name: the code of the interaction ("read", "search-type"), the name of an operation ("$validate"), "page" or
    "metrics"; empty if a request was refused before its interaction was known. url: relative to the FHIR base, with the
    query string. entry: FHIRPath of the Bundle entry, None for an HTTP request of its own."""

    name: str
    type: str | None = None
    id: str | None = None
    method: str = "GET"
    url: str = ""
    entry: str | None = None
