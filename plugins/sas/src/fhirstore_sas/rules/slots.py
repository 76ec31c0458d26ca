"""Rules for slots: times, labels, kinds of consultation, booking page (SPEC §3, §11, §16)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.names import SERVICE_TYPE_R5, TRE_R66, TRE_R314, V2_0276, V3_ACT_CODE
from fhirstore_sas.value_formats import INSTANT, INSTANT_FORMAT, instant, is_web_address

CONSULTATIONS = ("AMB", "HH", "VR")
APPOINTMENTS = ("ROUTINE", "WALKIN")
CPTS_CODE = "604"
_CONSULTATIONS = frozenset((V3_ACT_CODE, code) for code in CONSULTATIONS)
_APPOINTMENTS = frozenset((V2_0276, code) for code in APPOINTMENTS)
_LABELS_OF_PS = "PUBLIC", "PRO", "SNP"
_LABELS_OF_CPTS = (*_LABELS_OF_PS, "CPTS")
_LABELS_OF_SOS = "PUBLIC", "SNP"


def instants(slot: JsonNode) -> Iterator[Fault]:
    for name in ("start", "end"):
        if not INSTANT.fullmatch(slot.get(name).text):
            yield slot.get(name).fault(INSTANT_FORMAT)


def order(slot: JsonNode) -> Iterator[Fault]:
    start, end = (instant(slot.get(name).text) for name in ("start", "end"))
    if start and end and start >= end:
        yield slot.get("end").fault("> " + slot.get("start").text)


def free(slot: JsonNode) -> Iterator[Fault]:
    if slot.get("status").text != "free":
        yield slot.get("status").fault("free")


def ps_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_PS)


def cpts_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_CPTS)


def sos_labels(slot: JsonNode) -> Iterator[Fault]:
    return _labels(slot, _LABELS_OF_SOS)


def _labels(slot: JsonNode, known: tuple[str, ...]) -> Iterator[Fault]:
    security = slot.get("meta").each("security")
    if not security:
        yield slot.get("meta").get("security").fault(" | ".join(known))
    for coding in security:
        if coding.get("system").text != TRE_R314 or coding.get("code").text not in known:
            yield coding.fault(f"{TRE_R314} {' | '.join(known)}")


def consultations(slot: JsonNode) -> Iterator[Fault]:
    """The slot has at least one kind of consultation and no other codes; reasons have only text."""
    codes = [c for service in slot.each("serviceType") if not of_cpts(service) for c in service.codings()]
    if not codes or not _CONSULTATIONS.issuperset(codes):
        yield slot.get("serviceType").fault(f"{V3_ACT_CODE} {' | '.join(CONSULTATIONS)}")


def appointment_said(slot: JsonNode) -> Iterator[Fault]:
    """The appointment type is one of the two supported kinds."""
    kind = slot.get("appointmentType")
    if _APPOINTMENTS.isdisjoint(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def appointment_given(slot: JsonNode) -> Iterator[Fault]:
    kind = slot.get("appointmentType")
    if not list(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def appointment_handled(slot: JsonNode) -> Iterator[Fault]:
    """The appointment type has no codes but the two supported kinds."""
    kind = slot.get("appointmentType")
    if not _APPOINTMENTS.issuperset(kind.codings()):
        yield kind.fault(f"{V2_0276} {' | '.join(APPOINTMENTS)}")


def page_given(slot: JsonNode) -> Iterator[Fault]:
    """The slot has a booking page. The test kit requires it of all slots of individual practitioners."""
    comment = slot.get("comment")
    if not is_web_address(comment.text.strip()):
        yield comment.fault("http(s)://…")


def page(slot: JsonNode) -> Iterator[Fault]:
    """Walk-in slots need no booking page, as in two official examples. A booking page is a URL."""
    if slot.get("comment").value is not None or not is_walk_in(slot):
        yield from page_given(slot)


def is_walk_in(slot: JsonNode) -> bool:
    return any(code == "WALKIN" for _, code in slot.get("appointmentType").codings())


def page_query(slot: JsonNode) -> Iterator[Fault]:
    """The URL has a query string, because the platform appends `&origin=…`."""
    comment = slot.get("comment")
    if comment.text.startswith(("http://", "https://")) and "?" not in comment.text:
        yield comment.fault("…?…")


def cpts_services(slot: JsonNode) -> Iterator[Fault]:
    """Slots with the label CPTS, and only these, have service types 604, each with its HealthcareService."""
    services = slot.each("serviceType")
    has_cpts = any(of_cpts(service) for service in services)
    labelled = any(coding.get("code").text == "CPTS" for coding in slot.get("meta").each("security"))
    if labelled and not has_cpts:
        yield slot.get("serviceType").fault(f"{TRE_R66}#{CPTS_CODE}")
    elif has_cpts and not labelled:
        yield slot.get("meta").get("security").fault(f"{TRE_R314}#CPTS")
    for service in services:
        links = [e for e in service.each("extension") if e.get("url").text == SERVICE_TYPE_R5]
        if len(links) != of_cpts(service):
            yield service.fault(SERVICE_TYPE_R5)


def cpts_hidden(slot: JsonNode) -> Iterator[Fault]:
    yield from (service.fault() for service in slot.each("serviceType") if of_cpts(service))


def of_cpts(service: JsonNode) -> bool:
    return any(code == CPTS_CODE and "TRE_R66" in system for system, code in service.codings())
