"""The answer of a SAS search: stamped, reduced, counted in slots (SPEC §3.1, §3.3, §3.4, §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from fhirstore.plugins import (
    ResourceView,
    SearchEntry,
    Stored,
    ViewedResponse,
)
from fhirstore_sas import chains, entry_bodies
from fhirstore_sas.meta_elements import is_account, slot_meta, stamped
from fhirstore_sas.modes import CPTS, SOS
from fhirstore_sas.searches import SasSearch

_REFERENCE = re.compile(rb'"reference":"([A-Za-z]+/[A-Za-z0-9\-.]+)')


def make_view(search: SasSearch) -> ResourceView:
    """What the answer shows of each resource. Only entries of practitioners with several national identifiers depend
    on more of the request than its mode."""
    return ResourceView(f"sas-{search.mode.name}", partial(_show, search), partial(_finish, search))


def _show(search: SasSearch, entry: SearchEntry) -> bool:
    """Stamps and reduces the entry; False where it has no place in the answer."""
    mode = search.mode
    profile = mode.profiles.get(entry.type)
    if profile is None:
        return False
    if entry.type == "Slot":
        meta = slot_meta(entry.meta, profile, mode.hidden)
        if meta is None:
            return False
        entry.meta = meta
        entry.body = (entry_bodies.slot_for_cpts if mode is CPTS else entry_bodies.slot)(entry.body)
        return True
    if entry.type == "Practitioner" and is_account(entry.meta):
        return False
    entry.meta = stamped(entry.meta, profile)
    entry.body = _reduced(entry, search)
    return True


def _finish(search: SasSearch, shown: ViewedResponse) -> None:
    """Counts the slots; leaves out those of broken chains, what is there for these and for hidden slots alone, and
    everything where only the total counts."""
    lost = chains.unreachable_slots(shown.matches, shown.includes) if search.whole else frozenset()
    # The matches of SOS searches are schedules, those of the others slots.
    slots = [one for one in shown.includes if one.type == "Slot"] if search.mode is SOS else shown.matches
    shown.total = len(slots) - len(lost)
    shown.profile = search.mode.bundle
    if search.counting:
        shown.left_out.update(one.ref for one in (*shown.matches, *shown.includes))
    elif hidden := lost.union(one.ref for one in shown.hidden if one.type == "Slot"):
        shown.left_out |= _only_for(hidden, [*shown.matches, *shown.includes, *shown.hidden])


def _reduced(entry: SearchEntry, search: SasSearch) -> bytes:
    """The body, of no slot, for the answer. One that is no FHIR, stored with validation off, is sent as it is."""
    body = entry.body
    try:
        match entry.type:
            case "Practitioner":
                reduced, entry.varies = entry_bodies.practitioner(body, search.requested)
                return reduced
            case "PractitionerRole":
                return entry_bodies.practitioner_role(body)
            case "Organization":
                return (
                    entry_bodies.cpts_organization(body) if search.mode is CPTS else entry_bodies.sos_organization(body)
                )
            case "Location":
                return entry_bodies.sos_location(body)
    except msgspec.ValidationError:
        pass
    return body


def _only_for(hidden: frozenset[str], resources: Iterable[Stored]) -> set[str]:
    """What is among these for the hidden slots alone."""
    links = {one.ref: [ref.decode() for ref in _REFERENCE.findall(one.body)] for one in resources}
    needed = _reached({ref for ref in links if ref.startswith("Slot/")} - hidden, links)
    return _reached(hidden, links) - needed


def _reached(starts: Iterable[str], links: Mapping[str, list[str]]) -> set[str]:
    """The entries that references lead to from these, themselves included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += [target for target in links.get(ref, ()) if target in links]
    return found
