"""The searches of the platform, sent one after the other, and the checks on their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fhirstore.plugins import ProfileRequirement, Validator
from fhirstore_sas.check import queries
from fhirstore_sas.check.answer import Answer, opened
from fhirstore_sas.check.client import Client
from fhirstore_sas.check.journal import Journal
from fhirstore_sas.check.model import Exchange, Rule
from fhirstore_sas.check.queries import Search
from fhirstore_sas.check.rules import CHECKS
from fhirstore_sas.json_node import Fault, JsonNode, excerpt
from fhirstore_sas.modes import Mode
from fhirstore_sas.value_formats import instant

SLOWEST = 7.0
"""Seconds after which the platform drops an answer (SPEC §9)."""
PAST = timedelta(days=30)

RULES = (
    Rule("search-answered", "§2; §3", kit=("1.1.01", "4.2.01")),
    Rule("answer-time", "§9", kit=("4.1.01",)),
    Rule("slots-found", "§18", kit=("4.2.01", "4.3.01")),
    *(check.rule for check in CHECKS),
    Rule("bundle-conforms", "§11", kit=("4.2.02",)),
    Rule("search-bounds", "§3; §19 no. 5, 7"),
    Rule("search-encoded-names", "§2"),
    Rule("search-trailing-slash", "§20 no. 20", "warning"),
    Rule("search-blank-after-comma", "§20 no. 19", "warning"),
    Rule("search-bound-without-offset", "§3.2"),
    Rule("search-bound-bare-plus", "§3.2; §20 no. 19"),
    Rule("search-one-page", "§3.1"),
    Rule("search-unknown-ignored", "§3.1"),
    Rule("search-unknown", "§3.1; §16 no. 15; §19 no. 8"),
    Rule("search-past", "§2"),
    Rule("search-malformed", "§2"),
    Rule("search-accept", "§2; §20 no. 18"),
)
ACCEPTED = ("application/fhir+json", "application/json", "application/json+fhir; charset=utf-8")


@dataclass(frozen=True)
class Searcher:
    """Sends the searches of one mode. quickest: seconds that a search for one practitioner may take. now: an instant
    with an offset."""

    client: Client
    journal: Journal
    judge: Validator
    quickest: float
    now: datetime

    def run(self, mode: Mode, ids: Sequence[str]) -> None:
        """The searches of the platform for each of these ids and for all of them, then the odd ones."""
        start, end = queries.window(self.now)
        searches = [Search(mode, (one,), start, end) for one in ids]
        if len(ids) > 1:
            searches.append(Search(mode, tuple(ids), start, end))
        answers = [self._whole(search) for search in searches]
        if answers and answers[-1] is not None and answers[-1].slot_ids():
            self._variations(answers[-1])
        self._odd(Search(mode, tuple(ids) or (queries.unknown(mode),), start, end))

    def _whole(self, search: Search) -> Answer | None:
        """One search with all the checks on its answer."""
        exchange = self.client.get(queries.plain(search))
        self.journal.note("answer-time", exchange, self._slow(exchange, len(search.ids)))
        answer = self._opened(search, exchange)
        if answer is None:
            return None
        if self.journal.note("slots-found", exchange, [] if answer.slot_ids() else [Fault("Bundle.total", "0", "≥ 1")]):
            self._conforms(answer)
        for check in CHECKS:
            if search.mode in check.modes:
                self.journal.note(check.rule.id, exchange, check.run(answer))
        return answer

    def _opened(self, search: Search, exchange: Exchange) -> Answer | None:
        answer = opened(search, exchange)
        self.journal.note("search-answered", exchange, [] if answer else [_unanswered(exchange)])
        return answer

    def _slow(self, exchange: Exchange, asked: int) -> list[Fault]:
        limit = self.quickest if asked == 1 else SLOWEST
        return [] if exchange.seconds <= limit else [Fault("t", f"{exchange.seconds:.2f} s", f"≤ {limit:g} s")]

    def _conforms(self, answer: Answer) -> None:
        """An empty answer conforms to no profile of CPTS and SOS and is right all the same (SPEC §20, no. 8)."""
        demand = ProfileRequirement(answer.mode.bundle, "requested", "enforce", "warning")
        issues = [i for i in self.judge(answer.bundle.value, [demand]) if i.is_error]
        faults = [Fault(", ".join(i.expression) or "Bundle", i.diagnostics) for i in issues]
        self.journal.note("bundle-conforms", answer.exchange, faults)

    # --- the same search written otherwise

    def _variations(self, answer: Answer) -> None:
        search = answer.search
        for rule, write in queries.SPELLINGS.items():
            if rule != "search-blank-after-comma" or len(search.ids) > 1:
                self._same(rule, answer, write(search))
        with_unknown = replace(search, ids=(*search.ids, queries.unknown(search.mode)))
        self._same("search-unknown-ignored", answer, queries.plain(with_unknown))
        for media_type in ACCEPTED:
            self._same("search-accept", answer, queries.plain(search), accept=media_type)
        self._bounds(answer)

    def _same(self, rule: str, answer: Answer, path: str, **headers: str) -> None:
        """The answer must have the slots of `answer`; those that were booked or freed meanwhile do not count."""
        exchange = self.client.get(path, **headers)
        given = opened(answer.search, exchange)
        if given is None:
            self.journal.note(rule, exchange, [_unanswered(exchange)])
            return
        difference = given.slot_ids() ^ answer.slot_ids()
        if difference:
            again = opened(answer.search, self.client.get(queries.plain(answer.search)))
            difference = given.slot_ids() ^ again.slot_ids() if again is not None else difference
        self.journal.note(rule, exchange, [Fault("Bundle.entry", one) for one in sorted(difference)])

    def _bounds(self, answer: Answer) -> None:
        """From the start of a slot to the same instant: the slots that start then, and no others."""
        starts = {slot: instant(answer.by_reference[slot].get("start").text) for slot in answer.slot_ids()}
        asked = answer.search
        moments = sorted(start for start in starts.values() if start is not None and asked.start <= start <= asked.end)
        if not moments:
            return
        moment = moments[len(moments) // 2].astimezone(queries.PARIS)
        search = replace(answer.search, start=moment, end=moment)
        exchange = self.client.get(queries.plain(search))
        given = opened(search, exchange)
        wanted = {slot for slot, start in starts.items() if start == moment}
        wrong = given.slot_ids() ^ wanted if given is not None else wanted
        self.journal.note("search-bounds", exchange, [Fault("Bundle.entry", one) for one in sorted(wrong)])

    # --- requests at the edge

    def _odd(self, search: Search) -> None:
        self._empty("search-unknown", replace(search, ids=(queries.unknown(search.mode),)))
        self._empty("search-past", replace(search, start=search.start - PAST, end=search.end - PAST))
        wrong = queries.path(search, queries.parameters(search, bound=lambda _: "2026-13-45T99:00"))
        exchange = self.client.get(wrong)
        self.journal.note("search-malformed", exchange, refusal_faults(exchange))

    def _empty(self, rule: str, search: Search) -> None:
        exchange = self.client.get(queries.plain(search))
        answer = opened(search, exchange)
        if answer is None:
            self.journal.note(rule, exchange, [_unanswered(exchange)])
            return
        given = {"total": answer.bundle.get("total").value, "entry": answer.bundle.get("entry").value}
        is_right = (rule == "search-past" and not _too_late(answer)) or given == {"total": 0, "entry": None}
        self.journal.note(rule, exchange, [] if is_right else [Fault("Bundle", excerpt(given), "total 0, entry ∅")])


def _too_late(answer: Answer) -> list[JsonNode]:
    """Slots that start out of the window; those of the past may be shown when they are asked for."""
    search = answer.search
    starts = (slot.get("start") for slot in answer.all("Slot"))
    return [s for s in starts if not ((t := instant(s.text)) and search.start <= t <= search.end)]


def _unanswered(exchange: Exchange) -> Fault:
    if exchange.status is None:
        return Fault("HTTP", exchange.problem, "200, Bundle")
    kind = JsonNode("", exchange.json()).get("resourceType").text or exchange.headers.get("content-type", "")
    return Fault("HTTP", f"{exchange.status} {kind}: {exchange.text[:200]}", "200, Bundle")


def refusal_faults(exchange: Exchange) -> list[Fault]:
    """What is wrong with a refusal: it is none, or tells no reason (SPEC §2)."""
    if not exchange.refused():
        return [Fault("HTTP", str(exchange.status or exchange.problem), "4xx")]
    outcome = JsonNode("OperationOutcome", exchange.json())
    told = [i for i in outcome.each("issue") if i.get("severity").text and i.get("code").text]
    is_outcome = outcome.get("resourceType").text == "OperationOutcome" and told
    return [] if is_outcome else [Fault("HTTP", f"{exchange.status} {exchange.text[:200]}", "OperationOutcome")]
