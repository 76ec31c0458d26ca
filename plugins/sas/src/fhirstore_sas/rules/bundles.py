"""Rules for the Bundle of a response (SPEC §3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore_sas.json_node import Fault, JsonNode


def kind(bundle: JsonNode) -> Iterator[Fault]:
    type = bundle.get("type")
    if type.text != "searchset":
        yield type.fault("searchset")


def total(bundle: JsonNode) -> Iterator[Fault]:
    """The total is the number of slots."""
    count = bundle.get("total")
    slots = sum(entry.get("resource").get("resourceType").text == "Slot" for entry in bundle.each("entry"))
    if count.value != slots or isinstance(count.value, bool):
        yield count.fault(str(slots))


def one_link(bundle: JsonNode) -> Iterator[Fault]:
    links = bundle.each("link")
    if [link.get("relation").text for link in links] != ["self"]:
        yield bundle.get("link").fault("self")


def is_empty(bundle: object) -> bool:
    """Whether a searchset has no matches. The profiles of CPTS and SOS require at least four entries, but the guide
    requires an empty Bundle in this case (SPEC §20, no. 8)."""
    return isinstance(bundle, dict) and bundle.get("total") == 0 and "entry" not in bundle
