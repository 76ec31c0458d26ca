"""The outbox: the queue of messages to the platform.

The key of a message is the identifier of the appointment, since the platform knows appointments by it: if two
appointments have had one identifier after each other, a message about the earlier one must not overtake one about the
later. A message contains the whole state, so only the latest one is delivered. docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from fhirstore.plugins import PluginJobs, Record, RecordGuard
from fhirstore_sas.relay.message import identifier_of

QUEUE = "sas-relay"


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """A message about a version of an Appointment. is_new: the platform was not sent an earlier state of it."""

    appointment: str
    version: int
    message: dict[str, Any]
    is_new: bool

    @property
    def key(self) -> str:
        return key_of(identifier_of(self.message) or ("", ""))


def key_of(identifier: tuple[str, str]) -> str:
    """The key of an identifier (system, value): `system|value`, with a backslash before each "|" of the system."""
    system, value = identifier
    escaped = system.replace("\\", "\\\\").replace("|", "\\|")
    return f"{escaped}|{value}"


def outbox_records(jobs: PluginJobs, messages: Collection[OutboxMessage]) -> Iterator[Record | RecordGuard]:
    """Records and guards of the commit that causes the messages, each of another key."""
    payloads = {
        one.key: {
            "appointment": one.appointment, "version": one.version, "message": one.message, "is_new": one.is_new
        }
        for one in messages
    }  # fmt: skip
    return jobs.enqueue(QUEUE, payloads)
