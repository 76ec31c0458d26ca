"""https://hl7.org/fhir/R4/http.html#transaction: batch and transaction Bundles posted to the base."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

from fhirstore.errors import FhirError, error
from fhirstore.interactions.answer import write_bundle
from fhirstore.interactions.conditional import read_criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.create import plan_create
from fhirstore.interactions.delete import plan_conditional_delete, plan_delete
from fhirstore.interactions.entry import BundleEntry, error_entry, get, operation, read_entries, response_entry, unknown
from fhirstore.interactions.store_errors import from_store
from fhirstore.interactions.transaction import transaction
from fhirstore.interactions.update import plan_conditional_update, plan_update
from fhirstore.interactions.write import Plan, commit
from fhirstore.store.errors import (
    TimedOut,
    TooComplex,
    TooLarge,
    Unavailable,
)

Fresh = Callable[[], dict[str, Any]]


def process(ctx: Server, base: str, fresh: Fresh, *, with_resource: bool) -> bytes:
    """A response Bundle. fresh: parses the request body anew (a transaction that must be repeated starts over).

    Raises FhirError for what is no batch or transaction, and for a transaction that fails as a whole."""
    bundle = fresh()
    if bundle.get("resourceType") != "Bundle":
        raise error(
            400, "invalid", f"resourceType is {bundle.get('resourceType')!r}; the base takes a Bundle only.", "Bundle"
        )
    kind = bundle.get("type")
    if kind not in ("batch", "transaction"):
        raise error(400, "value", f"Bundle.type is {kind!r}; batch or transaction is wanted.", "Bundle.type")
    if kind not in ctx.registry.interactions:
        raise error(405, "not-supported", f"The interaction {kind} is not served here.", "Bundle.type")
    if kind == "transaction":
        entries = transaction(ctx, base, bundle, fresh, with_resource=with_resource)
    else:
        entries = [_one(ctx, base, e, with_resource) for e in read_entries(ctx, bundle, base)]
    return write_bundle(f"{kind}-response", entries, updated=time.time_ns() // 1_000_000 * 1000)


def _one(ctx: Server, base: str, entry: BundleEntry, with_resource: bool) -> bytes:
    try:
        if entry.method in ("GET", "HEAD"):
            return get(ctx, base, entry)
        if entry.method == "POST" and entry.operation is not None:
            return operation(ctx, base, entry)
        resource = entry.resource
        # Each attempt starts from what was sent: planning changes the resource.
        results = commit(ctx, lambda: _plans(ctx, entry, copy.deepcopy(resource) if resource is not None else {}))
        return response_entry(results[0], with_resource)
    except FhirError as problem:
        return error_entry(entry, problem)
    except (Unavailable, TimedOut, TooComplex, TooLarge) as problem:
        # The entries before this one are stored: the batch goes on, and tells which were not.
        return error_entry(entry, from_store(problem))


def _plans(ctx: Server, entry: BundleEntry, resource: dict[str, Any]) -> list[Plan]:
    path, query = entry.path, entry.query
    if entry.method == "POST" and len(path) == 1 and query is None:
        text = entry.if_none_exist
        criteria = read_criteria(ctx, path[0], text, resource) if text is not None else None
        return [plan_create(ctx, path[0], resource, criteria)]
    if entry.method == "PUT" and len(path) == 2:
        return [plan_update(ctx, path[0], path[1], resource, entry.if_match)]
    if entry.method == "PUT" and len(path) == 1 and query is not None:
        return [
            plan_conditional_update(
                ctx, path[0], resource, read_criteria(ctx, path[0], query, resource), entry.if_match
            )
        ]
    if entry.method == "DELETE" and len(path) == 2:
        return [plan_delete(ctx, path[0], path[1], entry.if_match)]
    if entry.method == "DELETE" and len(path) == 1 and query is not None:
        return plan_conditional_delete(ctx, path[0], read_criteria(ctx, path[0], query))
    raise unknown(entry)
