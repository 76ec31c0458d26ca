"""A whole run: the endpoint itself, its searches, and, where wanted, accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from fhirstore.plugins import StartupError, Validator
from fhirstore_sas.check import accounts, searches
from fhirstore_sas.check.client import Client, GaveUp, old_tls_accepted
from fhirstore_sas.check.journal import Journal
from fhirstore_sas.check.model import Exchange, Report, Rule
from fhirstore_sas.check.rules import CHECKS
from fhirstore_sas.check.searches import Searcher
from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.modes import SOS, Mode

ENDPOINT_RULES = (
    Rule("metadata", "§15", "warning", kit=("3.01",)),
    Rule("tls-version", "§8", kit=("1.2.01",)),
    Rule("tls-certificate", "§8", kit=("1.1.05",)),
)
RULES = {rule.id: rule for rule in (*ENDPOINT_RULES, *searches.RULES, *accounts.RULES)}
"""All there are, in the order of the reports."""


@dataclass(frozen=True)
class Plan:
    """What to check. modes: kinds of search. practitioners, associations: ids with prefix. with_accounts: regulator
    accounts may be written. quickest: seconds for a search for one practitioner. with_certificate: the client has one.
    cacert: authorities of the server's certificate, None = those of the system."""

    modes: Sequence[Mode]
    practitioners: Sequence[str] = ()
    associations: Sequence[str] = ()
    with_accounts: bool = False
    quickest: float = 1.0
    with_certificate: bool = False
    cacert: str | None = None


def run(client: Client, plan: Plan, judge: Validator, now: datetime) -> Report:
    """now: with an offset. Raises StartupError when the endpoint does not answer at all."""
    journal = Journal(RULES)
    first = client.get("metadata")
    if not first.is_reached:
        raise StartupError(f"{client.base} does not answer: {first.problem}.")
    journal.note("metadata", first, _metadata_faults(first))
    _skips(plan, journal)
    try:
        _ask(client, plan, journal, Searcher(client, journal, judge, plan.quickest, now))
    except GaveUp:
        journal.give_up("too-slow")
    return journal.report(client.base, now.isoformat(timespec="seconds"))


def _ask(client: Client, plan: Plan, journal: Journal, searcher: Searcher) -> None:
    _tls(client, plan, journal)
    for mode in plan.modes:
        searcher.run(mode, plan.associations if mode is SOS else plan.practitioners)
    if plan.with_accounts:
        accounts.run(client, journal, accounts.Ids.new())


def _metadata_faults(exchange: Exchange) -> list[Fault]:
    kind = JsonNode("", exchange.json()).get("resourceType")
    if exchange.status == 200 and kind.text == "CapabilityStatement":
        return []
    given = f"{exchange.status} {kind.text}".strip() if exchange.status is not None else exchange.problem
    return [Fault("HTTP", given, "200 CapabilityStatement")]


def _tls(client: Client, plan: Plan, journal: Journal) -> None:
    if urlsplit(client.base).scheme != "https":
        journal.skip("no-tls", "tls-version", "tls-certificate")
        return
    accepted = old_tls_accepted(client.base)
    journal.note("tls-version", Exchange("GET", client.base), [Fault("TLS", v, "≥ TLSv1_2") for v in accepted])
    if not plan.with_certificate:
        journal.skip("no-certificate", "tls-certificate")
        return
    with client.without_certificate(plan.cacert) as stranger:
        exchange = stranger.get("metadata")
    is_refused = exchange.refused() or "alert" in exchange.problem.lower()
    faults = [] if is_refused else [Fault("TLS", str(exchange.status or exchange.problem), "TLS alert | 4xx")]
    journal.note("tls-certificate", exchange, faults)


def _skips(plan: Plan, journal: Journal) -> None:
    """Rules that bear on what is not checked in this run, with the reason; a rule that is checked all the same counts
    as checked."""
    if not plan.with_accounts:
        journal.skip("no-accounts", *(rule.id for rule in accounts.RULES))
    for check in CHECKS:
        if not {mode.name for mode in check.modes} & {mode.name for mode in plan.modes}:
            journal.skip("other-mode", check.rule.id)
