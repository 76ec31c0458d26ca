"""`$sas-check`: free slots that responses leave out, and faults of the other free slots.

Searches do not use this module. One call examines a limited number of slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fhirstore.plugins import (
    And,
    Chain,
    Condition,
    Date,
    FhirError,
    Message,
    Not,
    OperationRequest,
    Or,
    PluginContext,
    PluginOperation,
    Reference,
    Registry,
    date_interval,
    error,
)
from fhirstore_sas import searches
from fhirstore_sas.findings import Finding, SlotFindings
from fhirstore_sas.identifiers import with_prefix
from fhirstore_sas.names import IDNPS_SYSTEM

DEFINITION = "urn:fhirstore:OperationDefinition:sas-check"
DEFAULT_COUNT, MAX_COUNT = 500, 5000
"""Slots that one call examines."""
_WINDOW = timedelta(days=3)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def plugin_operation() -> PluginOperation:
    return PluginOperation(DEFINITION, check_slots, affects_state=False)


def check_slots(operation: OperationRequest, context: PluginContext) -> Mapping[str, Any]:
    """The out parameters of the OperationDefinition. Raises FhirError 400 for wrong parameters."""
    start, end = _window(operation)
    count = _count(operation)
    after = _after(operation, context)
    where = And((free_slots(start, end), *_actor_conditions(operation, context.registry)))

    def read() -> tuple[Any, SlotFindings]:
        page = context.reader.find("Slot", where, (), after, count)
        return page, SlotFindings.of(context.reader, page.entries)

    page, findings = context.reader.with_snapshot(read)
    rest = None
    if page.next is not None:
        rest = context.page_token(DEFINITION, _parameters(operation), page.next)
    return {
        "start": start.isoformat(timespec="milliseconds"),
        "end": end.isoformat(timespec="milliseconds"),
        "examined": len(page.entries),
        "left-out": len(findings.left_out),
        "finding": [_finding(one) for one in findings],
        "next": rest,
    }


def free_slots(start: datetime, end: datetime) -> Condition:
    """The condition for free slots that start in this interval."""
    return And((searches.FREE, Date("start", low_ge=_micros(start), low_lt=_micros(end) + 1)))


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "rule": one.issue.rule,
        "severity": one.issue.severity,
        "left-out": one.leaves_out,
        "resource": {"reference": one.resource},
        "expression": one.issue.expression[0] if one.issue.expression else None,
        "slots": one.slots,
        "diagnostics": one.issue.diagnostics,
    }


def _window(operation: OperationRequest) -> tuple[datetime, datetime]:
    start = _time(operation, "start") or datetime.now(UTC)
    end = _time(operation, "end") or start + max(min(_WINDOW, _LAST - start), timedelta())
    if end < start:
        raise error(
            400,
            "value",
            Message("end ({end}) is before start ({start}).", end=end.isoformat(), start=start.isoformat()),
            "http.end",
        )
    return start, end


def _time(operation: OperationRequest, name: str) -> datetime | None:
    text = operation.one(name)
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:  # an instant with second 60
        pass
    try:
        return _EPOCH + timedelta(microseconds=date_interval(text, UTC)[0])
    except (ValueError, OverflowError):
        wrong = Message("{name} is {text}. Use a time between the years 1 and 9999.", name=name, text=text)
        raise error(400, "value", wrong, f"http.{name}") from None


def _count(operation: OperationRequest) -> int:
    given = operation.one("count")
    count = DEFAULT_COUNT if given is None else int(given)
    if not 1 <= count <= MAX_COUNT:
        raise error(
            400,
            "value",
            Message("count is {count}. Use a number from 1 to {max_count}.", count=count, max_count=MAX_COUNT),
            "http.count",
        )
    return count


def _actor_conditions(operation: OperationRequest, registry: Registry) -> Iterable[Condition]:
    """Conditions for the slots of the given practitioners and schedules."""
    people = [_national(text) for text in operation.many("practitioner")]
    if people:
        named = Or(tuple(token for code in people for token in searches.notations(IDNPS_SYSTEM, code)))
        accounts = (Not(searches.account_source(registry)),) if searches.can_identify_accounts(registry) else ()
        yield Chain("schedule", "Schedule", Chain("actor", "Practitioner", And((named, *accounts))))
    schedules = [text if "/" in text else f"Schedule/{text}" for text in operation.many("schedule")]
    if schedules:
        yield Reference("schedule", tuple(schedules))


def _national(text: str) -> str:
    """The national id with prefix, from value or system|value, with or without prefix."""
    system, _, code = text.strip().rpartition("|")
    if system not in ("", IDNPS_SYSTEM):
        raise error(
            400,
            "value",
            Message(
                "practitioner is {text}. Use a national id ({idnps_system}|8…).", text=text, idnps_system=IDNPS_SYSTEM
            ),
            "http.practitioner",
        )
    return with_prefix(IDNPS_SYSTEM, code) or code


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _parameters(operation: OperationRequest) -> list[tuple[str, str]]:
    """The parameters that the next call must repeat."""
    return [
        (name, str(value)) for name in sorted(operation.arguments) if name != "after" for value in operation.many(name)
    ]


def _after(operation: OperationRequest, context: PluginContext) -> list[Any] | None:
    """The position where this call continues; None for the first call."""
    token = operation.one("after")
    if token is None:
        return None
    try:
        return context.page_position(DEFINITION, _parameters(operation), token)
    except FhirError:
        text = Message("after is not a value of next that this server returned for the same parameters.")
        raise error(400, "value", text, "http.after") from None
