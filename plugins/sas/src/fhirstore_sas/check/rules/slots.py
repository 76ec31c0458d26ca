"""Rules on slots: times, status, labels, type of consultation, booking page (SPEC §3, §16)."""

from __future__ import annotations

from collections.abc import Iterator

from fhirstore_sas.check.model import CheckRule
from fhirstore_sas.check.response import CheckedResponse, ResponseCheck, of_each
from fhirstore_sas.json_node import Fault
from fhirstore_sas.modes import CPTS, PS, SOS
from fhirstore_sas.rules import slots
from fhirstore_sas.value_formats import instant

_LABELS = {PS.name: slots.ps_labels, CPTS.name: slots.cpts_labels, SOS.name: slots.sos_labels}


def in_window(response: CheckedResponse) -> Iterator[Fault]:
    search = response.search
    for slot in response.all("Slot"):
        start = instant(slot.get("start").text)
        if start and not search.start <= start <= search.end:
            limits = (bound.isoformat(timespec="milliseconds") for bound in (search.start, search.end))
            yield slot.get("start").fault(" … ".join(limits))


def labels(response: CheckedResponse) -> Iterator[Fault]:
    for slot in response.all("Slot"):
        yield from _LABELS[response.mode.name](slot)


def pages(response: CheckedResponse) -> Iterator[Fault]:
    for slot in response.all("Slot"):
        yield from slots.page_given(slot) if response.mode is PS else slots.page(slot)


CHECKS = (
    ResponseCheck(CheckRule("slot-instant", "§3.2", kit=("4.3.04",)), of_each("Slot", slots.instants)),
    ResponseCheck(CheckRule("slot-order", "§18", kit=("4.3.04",)), of_each("Slot", slots.order)),
    ResponseCheck(CheckRule("slot-window", "§3; §16 no. 17", kit=("4.3.04",)), in_window),
    ResponseCheck(CheckRule("slot-status", "§16 no. 17", kit=("4.3.09",)), of_each("Slot", slots.free)),
    ResponseCheck(CheckRule("slot-label", "§3.3; §13; §20 no. 31, 35, 40", kit=("4.7.02",)), labels),
    ResponseCheck(
        CheckRule("slot-consultation", "§11.2; §16 no. 8", kit=("4.7.03",)), of_each("Slot", slots.consultations)
    ),
    ResponseCheck(
        CheckRule("slot-appointment", "§11.2; §19 no. 49", kit=("4.3.10",)), of_each("Slot", slots.appointment_said)
    ),
    ResponseCheck(CheckRule("slot-comment", "§5.6; §16 no. 14", kit=("4.3.08", "6.1.01")), pages),
    ResponseCheck(CheckRule("slot-comment-query", "§5.6", kit=("6.1.03",)), of_each("Slot", slots.page_query)),
    ResponseCheck(
        CheckRule("slot-cpts", "§11.10; §16 no. 8, 12", kit=("4.8.1.05", "4.8.2.06")),
        of_each("Slot", slots.cpts_services),
        (CPTS,),
    ),
    ResponseCheck(
        CheckRule("slot-ps-cpts", "§20 no. 35", kit=("4.7.02",)), of_each("Slot", slots.cpts_hidden), (PS, SOS)
    ),
)
