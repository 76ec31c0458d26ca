"""The response to a SAS search: profiles are set, entries are reduced, and slots are counted (SPEC §3.1, §3.3, §3.4,
§4)."""

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
    """The view of a SAS search. Its entries depend on the mode alone, except those of practitioners with several
    national identifiers."""
    return ResourceView(f"sas-{search.mode.name}", partial(_show, search), partial(_finish, search))


def _show(search: SasSearch, entry: SearchEntry) -> bool:
    """Sets the profile and reduces the entry; False if the response must not contain it."""
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


def _finish(search: SasSearch, response: ViewedResponse) -> None:
    """Counts the slots. Leaves out unreachable slots, resources that only they and hidden slots refer to, and all
    entries of a search that asks for the total."""
    unreachable = chains.unreachable_slots(response.matches, response.includes) if search.whole else frozenset()
    # SOS searches match schedules, the others match slots.
    slots = [one for one in response.includes if one.type == "Slot"] if search.mode is SOS else response.matches
    response.total = len(slots) - len(unreachable)
    response.profile = search.mode.bundle
    if search.counting:
        response.left_out.update(one.ref for one in (*response.matches, *response.includes))
    elif hidden := unreachable.union(one.ref for one in response.hidden if one.type == "Slot"):
        response.left_out |= _needed_only_by(hidden, [*response.matches, *response.includes, *response.hidden])


def _reduced(entry: SearchEntry, search: SasSearch) -> bytes:
    """The body of an entry that is not a slot. A body that is not valid FHIR (stored with validation off) is
    unchanged."""
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


def _needed_only_by(hidden: frozenset[str], resources: Iterable[Stored]) -> set[str]:
    """The resources that only hidden slots refer to, directly or indirectly."""
    links = {one.ref: [ref.decode() for ref in _REFERENCE.findall(one.body)] for one in resources}
    needed = _reached({ref for ref in links if ref.startswith("Slot/")} - hidden, links)
    return _reached(hidden, links) - needed


def _reached(starts: Iterable[str], links: Mapping[str, list[str]]) -> set[str]:
    """The entries that are reachable from these by references, themselves included."""
    found: set[str] = set()
    waiting = list(starts)
    while waiting:
        ref = waiting.pop()
        if ref not in found:
            found.add(ref)
            waiting += [target for target in links.get(ref, ()) if target in links]
    return found
