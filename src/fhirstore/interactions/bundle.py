"""https://hl7.org/fhir/R4/http.html#transaction: batch and transaction Bundles posted to the base."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from fhirstore.errors import error
from fhirstore.interactions.base import Interaction, RestRequest, Result
from fhirstore.interactions.body import Body
from fhirstore.interactions.bundles import ResponseSpace, read_entries, respond_to_entry, write_bundle
from fhirstore.interactions.server import Server
from fhirstore.interactions.transaction import transaction
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Interaction):
    """A batch or a transaction. It is authorized under the code transaction, and then each of its entries like a
    request of its own."""

    code: ClassVar[str] = "transaction"

    body: Body

    @classmethod
    def from_request(cls, rest: RestRequest, path: Mapping[str, Any]) -> Self:
        if rest.entry is not None:
            text = Message(
                "An entry cannot be posted to the base: a batch or transaction does not contain another one."
            )
            raise error(400, "not-supported", text, f"{rest.entry}.request.url")
        return cls(body=rest.body)

    def check_served(self, server: Server) -> None:
        """Is checked by `execute`, because it depends on the type of the Bundle."""

    def execute(self, server: Server, request: RequestContext) -> Result:
        """Raises FhirError for a body that is not a batch or transaction, and for a transaction that fails."""
        bundle = self.body.resource()
        if bundle.get("resourceType") != "Bundle":
            text = Message(
                "resourceType is {resource_type}; the base accepts a Bundle only.",
                resource_type=repr(bundle.get("resourceType")),
            )
            raise error(400, "invalid", text, "Bundle")
        kind = bundle.get("type")
        if kind not in ("batch", "transaction"):
            raise error(
                400,
                "value",
                Message("Bundle.type is {kind}; it must be batch or transaction.", kind=repr(kind)),
                "Bundle.type",
            )
        if kind not in server.registry.interactions:
            text = Message("The interaction {code} is not supported by this server.", code=kind)
            raise error(405, "not-supported", text, "Bundle.type")
        process = transaction if kind == "transaction" else batch
        with_resources = request.preferences.returns == "representation"
        entries = process(server, request, bundle, self.body.resource, with_resources=with_resources)
        return Result(200, body=write_bundle(f"{kind}-response", entries))


def batch(
    server: Server,
    request: RequestContext,
    bundle: dict[str, Any],
    again: Callable[[], dict[str, Any]],
    *,
    with_resources: bool,
) -> list[bytes]:
    """The response entries of a batch, in order: https://hl7.org/fhir/R4/http.html#brules. Each entry is a request of
    its own, and a fault of an entry is the outcome of that entry.

    again: parses the Bundle again. with_resources: whether writes return resources. Raises FhirError 400 or 422 for the
    Bundle as a whole."""
    entries = read_entries(server.router, bundle, request.base, again, server.settings.max_bundle_entries)
    space = ResponseSpace(server.settings.max_response_bytes)
    return [respond_to_entry(server, request, entry, with_resources, space) for entry in entries]
