"""The answer of a SAS search: stamped, reduced, counted in slots (SPEC §3.1, §3.3, §3.4, §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from fhirstore.plugins import Answer, AnswerEntry
from fhirstore_sas import bodies
from fhirstore_sas.metas import is_account, slot_meta, stamped
from fhirstore_sas.modes import CPTS, Mode
from fhirstore_sas.searches import TAG, SasSearch

_REFERENCE = re.compile(rb'"reference":"([A-Za-z]+/[A-Za-z0-9\-.]+)')


def finish(answer: Answer) -> None:
    """Changes the answer in place where it is that of a SAS search."""
    search = answer.query.tags.get(TAG)
    if not isinstance(search, SasSearch):
        return
    hidden: set[str] = set()
    kept = [entry for entry in answer.entries if _shown(entry, search, hidden)]
    if hidden:
        kept = _without(kept, hidden, answer.entries)
    answer.total = sum(entry.type == "Slot" for entry in kept)
    answer.profile = search.mode.bundle
    answer.entries[:] = [] if search.counting else kept


def _shown(entry: AnswerEntry, search: SasSearch, hidden: set[str]) -> bool:
    """Stamps and reduces an entry; False where it has no place in the answer, slots that have none join `hidden`."""
    mode = search.mode
    profile = mode.profiles.get(entry.type)
    if profile is None:
        return False
    if entry.type == "Slot":
        meta = slot_meta(entry.meta, profile, mode.hidden)
        if meta is None:
            hidden.add(f"Slot/{entry.id}")
            return False
        entry.meta = meta
        entry.body = _body(entry, search, mode)
        return True
    if entry.type == "Practitioner" and is_account(entry.meta):
        return False
    entry.meta = stamped(entry.meta, profile)
    entry.body = _body(entry, search, mode)
    return True


def _body(entry: AnswerEntry, search: SasSearch, mode: Mode) -> bytes:
    """The body for the answer. One that is no FHIR, stored with validation off, is sent as it is."""
    try:
        return _reduced(entry, search, mode)
    except msgspec.ValidationError:
        return entry.body


def _reduced(entry: AnswerEntry, search: SasSearch, mode: Mode) -> bytes:
    match entry.type:
        case "Slot":
            return bodies.slot(entry.body, mode is CPTS)
        case "Practitioner":
            return bodies.practitioner(entry.body, search.requested)
        case "PractitionerRole":
            return bodies.practitioner_role(entry.body)
        case "Organization":
            return bodies.cpts_organization(entry.body) if mode is CPTS else bodies.sos_organization(entry.body)
        case "Location":
            return bodies.sos_location(entry.body)
    return entry.body


def _without(kept: list[AnswerEntry], hidden: set[str], all_entries: Iterable[AnswerEntry]) -> list[AnswerEntry]:
    """The entries that are not there for hidden slots alone."""
    links = {f"{e.type}/{e.id}": [ref.decode() for ref in _REFERENCE.findall(e.body)] for e in all_entries}
    needed = _reached({f"{e.type}/{e.id}" for e in kept if e.type == "Slot"}, links)
    idle = _reached(hidden, links) - needed
    return [e for e in kept if f"{e.type}/{e.id}" not in idle]


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
