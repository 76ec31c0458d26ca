"""https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.formats.compose import instant
from fhirstore.interactions.context import Server
from fhirstore.interactions.operations.terminology.given import check_date, members_of, told
from fhirstore.plugins.hookspecs import OperationRequest
from fhirstore.terminology.expand import Wanted
from fhirstore.terminology.expand import expand as expand_members
from fhirstore.terminology.versions import Versions, by_url

_NOT_SHOWN = frozenset({"url", "valueSet", "valueSetVersion", "context", "contextDirection"})
_KINDS = {bool: "valueBoolean", int: "valueInteger"}
_URIS = frozenset({"exclude-system", "system-version", "check-system-version", "force-system-version"})


@told(422)
def expand(ctx: Server, call: OperationRequest) -> Mapping[str, Any]:
    """A ValueSet with its expansion."""
    check_date(call)
    view = ctx.terminology.current()
    wanted = _wanted(call)
    listing = ctx.terminology.listing(members_of(ctx, view, call, _versions(call)))
    now = instant(time.time_ns() // 1_000_000 * 1000)
    return expand_members(listing, wanted, ctx.settings.max_expansion, now)


def _versions(call: OperationRequest) -> Versions:
    names = ("system-version", "check-system-version", "force-system-version")
    return Versions(*(by_url(call.many(name)) for name in names))


def _wanted(call: OperationRequest) -> Wanted:
    offset, count = call.one("offset"), call.one("count")
    for name, number in (("offset", offset), ("count", count)):
        if number is not None and number < 0:
            raise error(400, "value", f"{name} is {number}; it cannot be less than 0.", f"http.{name}")
    return Wanted(
        filter=call.one("filter") or "",
        offset=offset,
        count=count,
        include_designations=call.one("includeDesignations") is True or bool(call.many("designation")),
        designation=tuple(call.many("designation")),
        include_definition=call.one("includeDefinition") is True,
        active_only=call.one("activeOnly") is True,
        exclude_nested=call.one("excludeNested") is True,
        exclude_not_for_ui=call.one("excludeNotForUI") is True,
        exclude_system=frozenset(call.many("exclude-system")),
        display_language=call.one("displayLanguage"),
        shown=tuple(
            {"name": name, "valueUri" if name in _URIS else _KINDS.get(type(value), "valueString"): value}
            for name, values in call.arguments.items()
            if name not in _NOT_SHOWN
            for value in values
        ),
    )
