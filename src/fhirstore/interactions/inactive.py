"""Resources that ask the server to act, which it does not do."""

from __future__ import annotations

from fhirstore.model.issues import Issue
from fhirstore.model.messages import Message
from fhirstore.plugins.model import Write
from fhirstore.settings import Settings

INACTIVE_TYPES = frozenset({"Subscription"})

_REQUESTS = frozenset({"requested", "active"})
"""https://hl7.org/fhir/R4/valueset-subscription-status.html: the states in which a server notifies."""


def inactive_issues(settings: Settings, write: Write) -> list[Issue]:
    """The error of a Subscription that requests notifications, unless the setting inactive_resources is store.

    https://hl7.org/fhir/R4/subscription.html: a server that accepts a subscription has to notify."""
    if settings.inactive_resources == "store" or write.resource is None:
        return []
    status = write.resource.get("status")
    if status not in _REQUESTS:
        return []
    text = Message(
        "The server sends no notifications, so a Subscription with the status {status} would have no effect. Use the "
        "status off, or the setting inactive_resources = store to store it without effect.",
        status=status,
    )
    return [Issue("error", "not-supported", text, ("Subscription.status",))]
