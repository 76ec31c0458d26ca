"""Slots: times, status, labels, kinds of consultation, the booking page (SPEC §3, §16)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore_sas.check.answer import INSTANT, Answer, Check, instant, is_web_address
from fhirstore_sas.check.model import Fault, Part, Rule
from fhirstore_sas.modes import CPTS, PS, SOS
from fhirstore_sas.names import SERVICE_TYPE_R5, TRE_R66, TRE_R314, V2_0276, V3_ACT_CODE

_LABELS = {
    PS.name: ("PUBLIC", "PRO", "SNP"),
    CPTS.name: ("PUBLIC", "PRO", "SNP", "CPTS"),
    SOS.name: ("PUBLIC", "SNP"),
}
_CONSULTATIONS = ("AMB", "HH", "VR")
_APPOINTMENTS = ("ROUTINE", "WALKIN")
_CPTS_CODE = "604"


def instants(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        for name in ("start", "end"):
            if not INSTANT.fullmatch(slot.get(name).text):
                yield slot.get(name).fault("AAAA-MM-DDTHH:MM:SS.mmm±HH:MM")


def order(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        start, end = (instant(slot.get(name).text) for name in ("start", "end"))
        if start and end and start >= end:
            yield slot.get("end").fault("> " + slot.get("start").text)


def inside(answer: Answer) -> Iterator[Fault]:
    search = answer.search
    for slot in answer.all("Slot"):
        start = instant(slot.get("start").text)
        if start and not search.start <= start <= search.end:
            limits = (bound.isoformat(timespec="milliseconds") for bound in (search.start, search.end))
            yield slot.get("start").fault(" … ".join(limits))


def free(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        if slot.get("status").text != "free":
            yield slot.get("status").fault("free")


def labels(answer: Answer) -> Iterator[Fault]:
    known = _LABELS[answer.mode.name]
    for slot in answer.all("Slot"):
        security = slot.get("meta").each("security")
        if not security:
            yield slot.get("meta").get("security").fault(" | ".join(known))
        for coding in security:
            if coding.get("system").text != TRE_R314 or coding.get("code").text not in known:
                yield coding.fault(f"{TRE_R314} {' | '.join(known)}")


def consultations(answer: Answer) -> Iterator[Fault]:
    """At least one kind, and no code but these; reasons are text alone."""
    for slot in answer.all("Slot"):
        services = slot.each("serviceType")
        codes = [c for service in services if not _of_cpts(service) for c in service.codings()]
        if not codes or any(c not in {(V3_ACT_CODE, code) for code in _CONSULTATIONS} for c in codes):
            yield slot.get("serviceType").fault(f"{V3_ACT_CODE} {' | '.join(_CONSULTATIONS)}")


def appointments(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        type = slot.get("appointmentType")
        if [code for code in type.codings() if code[0] == V2_0276 and code[1] in _APPOINTMENTS] == []:
            yield type.fault(f"{V2_0276} {' | '.join(_APPOINTMENTS)}")


def pages(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        comment = slot.get("comment")
        if _needs_page(answer, slot) and not is_web_address(comment.text.strip()):
            yield comment.fault("http(s)://…")


def page_queries(answer: Answer) -> Iterator[Fault]:
    """`&origin=…` is appended as it is."""
    for slot in answer.all("Slot"):
        comment = slot.get("comment")
        if comment.text.startswith(("http://", "https://")) and "?" not in comment.text:
            yield comment.fault("…?…")


def _needs_page(answer: Answer, slot: Part) -> bool:
    """The kit asks it of every slot of individual practitioners; elsewhere those without booking need none."""
    walk_in = any(code == "WALKIN" for _, code in slot.get("appointmentType").codings())
    return answer.mode is PS or not walk_in or slot.get("comment").value is not None


def cpts_services(answer: Answer) -> Iterator[Fault]:
    """A label CPTS and service types 604 go together, each of these with its HealthcareService."""
    for slot in answer.all("Slot"):
        services = [service for service in slot.each("serviceType") if _of_cpts(service)]
        labelled = any(coding.get("code").text == "CPTS" for coding in slot.get("meta").each("security"))
        if labelled != bool(services):
            yield slot.get("serviceType").fault(f"{TRE_R66}#{_CPTS_CODE}" if labelled else "CPTS")
        for service in slot.each("serviceType"):
            links = [e for e in service.each("extension") if e.get("url").text == SERVICE_TYPE_R5]
            if len(links) != _of_cpts(service):
                yield service.fault(SERVICE_TYPE_R5)


def hidden_cpts(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        yield from (s.fault() for s in slot.each("serviceType") if _of_cpts(s))


def _of_cpts(service: Part) -> bool:
    return any(code == _CPTS_CODE and "TRE_R66" in system for system, code in service.codings())


CHECKS = (
    Check(Rule("slot-instant", "§3.2", kit=("4.3.04",)), instants),
    Check(Rule("slot-order", "§18", kit=("4.3.04",)), order),
    Check(Rule("slot-window", "§3; §16 no. 17", kit=("4.3.04",)), inside),
    Check(Rule("slot-status", "§16 no. 17", kit=("4.3.09",)), free),
    Check(Rule("slot-label", "§3.3; §13; §20 no. 31, 35, 40", kit=("4.7.02",)), labels),
    Check(Rule("slot-consultation", "§11.2; §16 no. 8", kit=("4.7.03",)), consultations),
    Check(Rule("slot-appointment", "§11.2; §19 no. 49", kit=("4.3.10",)), appointments),
    Check(Rule("slot-comment", "§5.6; §16 no. 14", kit=("4.3.08", "6.1.01")), pages),
    Check(Rule("slot-comment-query", "§5.6", kit=("6.1.03",)), page_queries),
    Check(Rule("slot-cpts", "§11.10; §16 no. 8, 12", kit=("4.8.1.05", "4.8.2.06")), cpts_services, (CPTS,)),
    Check(Rule("slot-ps-cpts", "§20 no. 35", kit=("4.7.02",)), hidden_cpts, (PS, SOS)),
)
