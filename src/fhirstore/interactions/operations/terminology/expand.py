"""https://hl7.org/fhir/R4/valueset-operation-expand.html"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fhirstore.errors import error
from fhirstore.formats.json import instant
from fhirstore.interactions.operations.terminology.parameters import (
    refuse_past_date,
    requested_value_set,
    unresolved_as_error,
)
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.plugins.model import OperationRequest
from fhirstore.terminology.expansion import ExpansionOptions
from fhirstore.terminology.expansion import expand as expand_value_set
from fhirstore.terminology.system_versions import SystemVersions, versions_by_url

_NOT_ECHOED = frozenset({"url", "valueSet", "valueSetVersion", "context", "contextDirection"})
_VALUE_KEYS = {bool: "valueBoolean", int: "valueInteger"}
_URI_PARAMETERS = frozenset({"exclude-system", "system-version", "check-system-version", "force-system-version"})


@unresolved_as_error(422)
def expand(server: Server, operation: OperationRequest) -> Mapping[str, Any]:
    """Returns a ValueSet with its expansion."""
    refuse_past_date(operation)
    snapshot = server.terminology.current()
    options = _options(operation)
    value_set = requested_value_set(server, snapshot, operation, _versions(operation))
    expansion = server.terminology.expansion(value_set)
    now = instant(time.time_ns() // 1_000_000 * 1000)
    return expand_value_set(expansion, options, server.settings.max_expansion, now)


def _versions(operation: OperationRequest) -> SystemVersions:
    names = ("system-version", "check-system-version", "force-system-version")
    return SystemVersions(*(versions_by_url(operation.many(name)) for name in names))


def _options(operation: OperationRequest) -> ExpansionOptions:
    offset, count = operation.one("offset"), operation.one("count")
    for name, number in (("offset", offset), ("count", count)):
        if number is not None and number < 0:
            raise error(
                400,
                "value",
                Message("{name} is {number}; it must be 0 or more.", name=name, number=number),
                f"http.{name}",
            )
    return ExpansionOptions(
        filter=operation.one("filter") or "",
        offset=offset,
        count=count,
        include_designations=operation.one("includeDesignations") is True or bool(operation.many("designation")),
        designation=tuple(operation.many("designation")),
        include_definition=operation.one("includeDefinition") is True,
        active_only=operation.one("activeOnly") is True,
        exclude_nested=operation.one("excludeNested") is True,
        exclude_not_for_ui=operation.one("excludeNotForUI") is True,
        exclude_system=frozenset(operation.many("exclude-system")),
        display_language=operation.one("displayLanguage"),
        echoed=tuple(
            {
                "name": name,
                "valueUri" if name in _URI_PARAMETERS else _VALUE_KEYS.get(type(value), "valueString"): value,
            }
            for name, values in operation.arguments.items()
            if name not in _NOT_ECHOED
            for value in values
        ),
    )
