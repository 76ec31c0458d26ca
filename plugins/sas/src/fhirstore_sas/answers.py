"""The answer of a SAS search: stamped, reduced, counted in slots (SPEC §3.1, §3.3, §3.4, §4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from fhirstore.plugins import Answer, AnswerEntry
from fhirstore_sas import bodies, chains
from fhirstore_sas.metas import is_account, slot_meta, stamped
from fhirstore_sas.modes import CPTS
from fhirstore_sas.searches import TAG, SasSearch

_REFERENCE = re.compile(rb'"reference":"([A-Za-z]+/[A-Za-z0-9\-.]+)')


def finish(answer: Answer) -> None:
    """Changes the answer in place where it is that of a SAS search."""
    search = answer.query.tags.get(TAG)
    if not isinstance(search, SasSearch):
        return
    lost = _lost(answer.entries) if search.whole else ()
    hidden = set(lost)
    shown = [e for e in answer.entries if f"{e.type}/{e.id}" not in hidden] if lost else answer.entries
    kept, answer.total = _shown(shown, search, hidden)
    if hidden:
        kept = _without(kept, hidden, answer.entries)
    answer.profile = search.mode.bundle
    answer.entries[:] = [] if search.counting else kept


def _lost(entries: Iterable[AnswerEntry]) -> frozenset[str]:
    """The slots whose chain is broken."""
    slots: list[AnswerEntry] = []
    others: list[AnswerEntry] = []
    for entry in entries:
        (slots if entry.type == "Slot" else others).append(entry)
    return chains.lost_slots(slots, others)


def _shown(entries: Iterable[AnswerEntry], search: SasSearch, hidden: set[str]) -> tuple[list[AnswerEntry], int]:
    """The entries that have a place in the answer, stamped and reduced, and how many of them are slots; slots that
    have none join `hidden`.

    An answer holds hundreds of slots with a few different metas: each is looked up in one dict."""
    mode, profiles = search.mode, search.mode.profiles
    slot_profile = profiles["Slot"]
    reduced_slot = bodies.slot_for_cpts if mode is CPTS else bodies.slot
    metas: dict[bytes, bytes | None] = {}
    kept: list[AnswerEntry] = []
    slots = 0
    for entry in entries:
        type, stored = entry.type, entry.meta
        if type != "Slot":
            profile = profiles.get(type)
            if profile is None or (type == "Practitioner" and is_account(stored)):
                continue
            entry.meta = stamped(stored, profile)
            entry.body = _reduced(type, entry.body, search)
        else:
            meta = (
                metas[stored]
                if stored in metas
                else metas.setdefault(stored, slot_meta(stored, slot_profile, mode.hidden))
            )
            if meta is None:
                hidden.add(f"Slot/{entry.id}")
                continue
            entry.meta = meta
            entry.body = reduced_slot(entry.body)
            slots += 1
        kept.append(entry)
    return kept, slots


def _reduced(type: str, body: bytes, search: SasSearch) -> bytes:
    """The body, of no slot, for the answer. One that is no FHIR, stored with validation off, is sent as it is."""
    try:
        match type:
            case "Practitioner":
                return bodies.practitioner(body, search.requested)
            case "PractitionerRole":
                return bodies.practitioner_role(body)
            case "Organization":
                return bodies.cpts_organization(body) if search.mode is CPTS else bodies.sos_organization(body)
            case "Location":
                return bodies.sos_location(body)
    except msgspec.ValidationError:
        pass
    return body


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
