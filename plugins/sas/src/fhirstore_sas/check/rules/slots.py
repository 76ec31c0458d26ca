"""Slots of an answer: times, status, labels, kinds of consultation, the booking page (SPEC §3, §16)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore_sas.check.answer import Answer, Check, of_each
from fhirstore_sas.check.model import Rule
from fhirstore_sas.json_node import Fault
from fhirstore_sas.modes import CPTS, PS, SOS
from fhirstore_sas.rules import slots
from fhirstore_sas.value_formats import instant

_LABELS = {PS.name: slots.ps_labels, CPTS.name: slots.cpts_labels, SOS.name: slots.sos_labels}


def inside(answer: Answer) -> Iterator[Fault]:
    search = answer.search
    for slot in answer.all("Slot"):
        start = instant(slot.get("start").text)
        if start and not search.start <= start <= search.end:
            limits = (bound.isoformat(timespec="milliseconds") for bound in (search.start, search.end))
            yield slot.get("start").fault(" … ".join(limits))


def labels(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        yield from _LABELS[answer.mode.name](slot)


def pages(answer: Answer) -> Iterator[Fault]:
    for slot in answer.all("Slot"):
        yield from slots.page_given(slot) if answer.mode is PS else slots.page(slot)


CHECKS = (
    Check(Rule("slot-instant", "§3.2", kit=("4.3.04",)), of_each("Slot", slots.instants)),
    Check(Rule("slot-order", "§18", kit=("4.3.04",)), of_each("Slot", slots.order)),
    Check(Rule("slot-window", "§3; §16 no. 17", kit=("4.3.04",)), inside),
    Check(Rule("slot-status", "§16 no. 17", kit=("4.3.09",)), of_each("Slot", slots.free)),
    Check(Rule("slot-label", "§3.3; §13; §20 no. 31, 35, 40", kit=("4.7.02",)), labels),
    Check(Rule("slot-consultation", "§11.2; §16 no. 8", kit=("4.7.03",)), of_each("Slot", slots.consultations)),
    Check(Rule("slot-appointment", "§11.2; §19 no. 49", kit=("4.3.10",)), of_each("Slot", slots.appointment_said)),
    Check(Rule("slot-comment", "§5.6; §16 no. 14", kit=("4.3.08", "6.1.01")), pages),
    Check(Rule("slot-comment-query", "§5.6", kit=("6.1.03",)), of_each("Slot", slots.page_query)),
    Check(
        Rule("slot-cpts", "§11.10; §16 no. 8, 12", kit=("4.8.1.05", "4.8.2.06")),
        of_each("Slot", slots.cpts_services),
        (CPTS,),
    ),
    Check(Rule("slot-ps-cpts", "§20 no. 35", kit=("4.7.02",)), of_each("Slot", slots.cpts_hidden), (PS, SOS)),
)
