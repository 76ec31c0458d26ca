"""Sends the searches of the platform one after the other and checks the responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fhirstore.plugins import ProfileRequirement, Validator
from fhirstore_sas.check import queries
from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.model import CheckResults, CheckRule, Exchange
from fhirstore_sas.check.queries import PlatformSearch
from fhirstore_sas.check.response import CheckedResponse, parse_response
from fhirstore_sas.check.response_rules import CHECKS
from fhirstore_sas.rules import Fault, JsonNode, excerpt
from fhirstore_sas.searches import Mode
from fhirstore_sas.value_formats import instant

MAX_SECONDS = 7.0
"""The platform drops a response after this time (SPEC §9)."""
PAST = timedelta(days=30)

RULES = (
    CheckRule("search-answered", "§2; §3", kit=("1.1.01", "4.2.01")),
    CheckRule("answer-time", "§9", kit=("4.1.01",)),
    CheckRule("slots-found", "§18", kit=("4.2.01", "4.3.01")),
    *(check.rule for check in CHECKS),
    CheckRule("bundle-conforms", "§11", kit=("4.2.02",)),
    CheckRule("search-bounds", "§3; §19 no. 5, 7"),
    CheckRule("search-encoded-names", "§2"),
    CheckRule("search-trailing-slash", "§20 no. 20", "warning"),
    CheckRule("search-blank-after-comma", "§20 no. 19", "warning"),
    CheckRule("search-bound-without-offset", "§3.2"),
    CheckRule("search-bound-bare-plus", "§3.2; §20 no. 19"),
    CheckRule("search-one-page", "§3.1"),
    CheckRule("search-unknown-ignored", "§3.1"),
    CheckRule("search-unknown", "§3.1; §16 no. 15; §19 no. 8"),
    CheckRule("search-past", "§2"),
    CheckRule("search-malformed", "§2"),
    CheckRule("search-accept", "§2; §20 no. 18"),
)
ACCEPTED = ("application/fhir+json", "application/json", "application/json+fhir; charset=utf-8")


@dataclass(frozen=True)
class SearchChecker:
    """Sends the searches of one mode. max_seconds: for a search for one practitioner. now: with an offset."""

    client: EndpointClient
    results: CheckResults
    validate: Validator
    max_seconds: float
    now: datetime

    def run(self, mode: Mode, ids: Sequence[str]) -> None:
        """Searches for each of these ids and for all of them, then sends equivalent requests and edge cases."""
        start, end = queries.window(self.now)
        searches = [PlatformSearch(mode, (one,), start, end) for one in ids]
        if len(ids) > 1:
            searches.append(PlatformSearch(mode, tuple(ids), start, end))
        responses = [self._standard_search(search) for search in searches]
        if responses and responses[-1] is not None and responses[-1].slot_ids():
            self._equivalent_requests(responses[-1])
        self._edge_cases(PlatformSearch(mode, tuple(ids) or (queries.unknown(mode),), start, end))

    def _standard_search(self, search: PlatformSearch) -> CheckedResponse | None:
        """Sends one search and runs all checks on its response."""
        exchange = self.client.get(queries.plain(search))
        self.results.note("answer-time", exchange, self._slow(exchange, len(search.ids)))
        response = self._parsed(search, exchange)
        if response is None:
            return None
        if self.results.note(
            "slots-found", exchange, [] if response.slot_ids() else [Fault("Bundle.total", "0", "≥ 1")]
        ):
            self._conforms(response)
        for check in CHECKS:
            if search.mode in check.modes:
                self.results.note(check.rule.id, exchange, check.run(response))
        return response

    def _parsed(self, search: PlatformSearch, exchange: Exchange) -> CheckedResponse | None:
        response = parse_response(search, exchange)
        self.results.note("search-answered", exchange, [] if response else [_no_bundle(exchange)])
        return response

    def _slow(self, exchange: Exchange, asked: int) -> list[Fault]:
        limit = self.max_seconds if asked == 1 else MAX_SECONDS
        return [] if exchange.seconds <= limit else [Fault("t", f"{exchange.seconds:.2f} s", f"≤ {limit:g} s")]

    def _conforms(self, response: CheckedResponse) -> None:
        """Checks the profile. Not called for empty responses, which do not conform to the profiles of CPTS and SOS but
        are correct (SPEC §20, no. 8)."""
        demand = ProfileRequirement(response.mode.bundle, "requested", "enforce", "warning")
        issues = [i for i in self.validate(response.bundle.value, [demand]) if i.is_error]
        faults = [Fault(", ".join(i.expression) or "Bundle", i.diagnostics) for i in issues]
        self.results.note("bundle-conforms", response.exchange, faults)

    # --- equivalent requests

    def _equivalent_requests(self, response: CheckedResponse) -> None:
        search = response.search
        for rule, write in queries.SPELLINGS.items():
            if rule != "search-blank-after-comma" or len(search.ids) > 1:
                self._same_slots(rule, response, write(search))
        with_unknown = replace(search, ids=(*search.ids, queries.unknown(search.mode)))
        self._same_slots("search-unknown-ignored", response, queries.plain(with_unknown))
        for media_type in ACCEPTED:
            self._same_slots("search-accept", response, queries.plain(search), accept=media_type)
        self._bounds(response)

    def _same_slots(self, rule: str, response: CheckedResponse, path: str, **headers: str) -> None:
        """The response must have the slots of `response`, apart from slots booked or freed in the meantime."""
        exchange = self.client.get(path, **headers)
        given = parse_response(response.search, exchange)
        if given is None:
            self.results.note(rule, exchange, [_no_bundle(exchange)])
            return
        difference = given.slot_ids() ^ response.slot_ids()
        if difference:
            again = parse_response(response.search, self.client.get(queries.plain(response.search)))
            difference = given.slot_ids() ^ again.slot_ids() if again is not None else difference
        self.results.note(rule, exchange, [Fault("Bundle.entry", one) for one in sorted(difference)])

    def _bounds(self, response: CheckedResponse) -> None:
        """Searches from the start of a slot to the same instant, which finds the slots with this start only."""
        starts = {slot: instant(response.by_reference[slot].get("start").text) for slot in response.slot_ids()}
        asked = response.search
        moments = sorted(start for start in starts.values() if start is not None and asked.start <= start <= asked.end)
        if not moments:
            return
        moment = moments[len(moments) // 2].astimezone(queries.PARIS)
        search = replace(response.search, start=moment, end=moment)
        exchange = self.client.get(queries.plain(search))
        given = parse_response(search, exchange)
        expected = {slot for slot, start in starts.items() if start == moment}
        wrong = given.slot_ids() ^ expected if given is not None else expected
        self.results.note("search-bounds", exchange, [Fault("Bundle.entry", one) for one in sorted(wrong)])

    # --- edge cases

    def _edge_cases(self, search: PlatformSearch) -> None:
        self._empty("search-unknown", replace(search, ids=(queries.unknown(search.mode),)))
        self._empty("search-past", replace(search, start=search.start - PAST, end=search.end - PAST))
        wrong = queries.path(search, queries.parameters(search, bound=lambda _: "2026-13-45T99:00"))
        exchange = self.client.get(wrong)
        self.results.note("search-malformed", exchange, refusal_faults(exchange))

    def _empty(self, rule: str, search: PlatformSearch) -> None:
        exchange = self.client.get(queries.plain(search))
        response = parse_response(search, exchange)
        if response is None:
            self.results.note(rule, exchange, [_no_bundle(exchange)])
            return
        given = {"total": response.bundle.get("total").value, "entry": response.bundle.get("entry").value}
        is_correct = (rule == "search-past" and not _outside_window(response)) or given == {"total": 0, "entry": None}
        self.results.note(rule, exchange, [] if is_correct else [Fault("Bundle", excerpt(given), "total 0, entry ∅")])


def _outside_window(response: CheckedResponse) -> list[JsonNode]:
    """Starts of slots outside the window. Slots of the past may be returned if they are requested."""
    search = response.search
    starts = (slot.get("start") for slot in response.all("Slot"))
    return [s for s in starts if not ((t := instant(s.text)) and search.start <= t <= search.end)]


def _no_bundle(exchange: Exchange) -> Fault:
    if exchange.status is None:
        return Fault("HTTP", exchange.problem, "200, Bundle")
    kind = JsonNode("", exchange.json()).get("resourceType").text or exchange.headers.get("content-type", "")
    return Fault("HTTP", f"{exchange.status} {kind}: {exchange.text[:200]}", "200, Bundle")


def refusal_faults(exchange: Exchange) -> list[Fault]:
    """The fault of a refusal: the request is not refused, or no reason is given (SPEC §2)."""
    if not exchange.refused():
        return [Fault("HTTP", str(exchange.status or exchange.problem), "4xx")]
    outcome = JsonNode("OperationOutcome", exchange.json())
    reasons = [i for i in outcome.each("issue") if i.get("severity").text and i.get("code").text]
    is_outcome = outcome.get("resourceType").text == "OperationOutcome" and reasons
    return [] if is_outcome else [Fault("HTTP", f"{exchange.status} {exchange.text[:200]}", "OperationOutcome")]
