"""Runs a check: the endpoint itself, its searches and, on request, regulator accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from fhirstore.plugins import StartupError, Validator
from fhirstore_sas.check import accounts, searches
from fhirstore_sas.check.client import EndpointClient, EndpointTooSlow, accepted_old_tls_versions
from fhirstore_sas.check.model import CheckReport, CheckResults, CheckRule, Exchange
from fhirstore_sas.check.response_rules import CHECKS
from fhirstore_sas.check.searches import SearchChecker
from fhirstore_sas.rules import Fault, JsonNode
from fhirstore_sas.searches import SOS, Mode

ENDPOINT_RULES = (
    CheckRule("metadata", "§15", "warning", kit=("3.01",)),
    CheckRule("tls-version", "§8", kit=("1.2.01",)),
    CheckRule("tls-certificate", "§8", kit=("1.1.05",)),
)
RULES = {rule.id: rule for rule in (*ENDPOINT_RULES, *searches.RULES, *accounts.RULES)}
"""All rules by id, in the order of the reports."""


@dataclass(frozen=True)
class CheckPlan:
    """What to check. modes: kinds of search. practitioners, associations: ids with prefix. with_accounts: whether
    regulator accounts are written. max_seconds: for a search for one practitioner. with_certificate: whether the client
    has one. cacert: authorities for the certificate of the server, None for those of the system."""

    modes: Sequence[Mode]
    practitioners: Sequence[str] = ()
    associations: Sequence[str] = ()
    with_accounts: bool = False
    max_seconds: float = 1.0
    with_certificate: bool = False
    cacert: str | None = None


def run(client: EndpointClient, plan: CheckPlan, validate: Validator, now: datetime) -> CheckReport:
    """now: with an offset. Raises StartupError if the endpoint cannot be reached."""
    results = CheckResults(RULES)
    first = client.get("metadata")
    if not first.is_reachable:
        raise StartupError(f"{client.base} does not answer: {first.problem}.")
    results.note("metadata", first, _metadata_faults(first))
    _skip_rules(plan, results)
    try:
        _run_checks(client, plan, results, SearchChecker(client, results, validate, plan.max_seconds, now))
    except EndpointTooSlow:
        results.stop("too-slow")
    return results.report(client.base, now.isoformat(timespec="seconds"))


def _run_checks(client: EndpointClient, plan: CheckPlan, results: CheckResults, searcher: SearchChecker) -> None:
    _tls(client, plan, results)
    for mode in plan.modes:
        searcher.run(mode, plan.associations if mode is SOS else plan.practitioners)
    if plan.with_accounts:
        accounts.run(client, results, accounts.AccountIds.new())


def _metadata_faults(exchange: Exchange) -> list[Fault]:
    kind = JsonNode("", exchange.json()).get("resourceType")
    if exchange.status == 200 and kind.text == "CapabilityStatement":
        return []
    given = f"{exchange.status} {kind.text}".strip() if exchange.status is not None else exchange.problem
    return [Fault("HTTP", given, "200 CapabilityStatement")]


def _tls(client: EndpointClient, plan: CheckPlan, results: CheckResults) -> None:
    if urlsplit(client.base).scheme != "https":
        results.skip("no-tls", "tls-version", "tls-certificate")
        return
    accepted = accepted_old_tls_versions(client.base)
    results.note("tls-version", Exchange("GET", client.base), [Fault("TLS", v, "≥ TLSv1_2") for v in accepted])
    if not plan.with_certificate:
        results.skip("no-certificate", "tls-certificate")
        return
    with client.without_certificate(plan.cacert) as anonymous:
        exchange = anonymous.get("metadata")
    is_refused = exchange.refused() or "alert" in exchange.problem.lower()
    faults = [] if is_refused else [Fault("TLS", str(exchange.status or exchange.problem), "TLS alert | 4xx")]
    results.note("tls-certificate", exchange, faults)


def _skip_rules(plan: CheckPlan, results: CheckResults) -> None:
    """Records the reason of the rules that this run does not check. A rule that is checked nevertheless counts as
    checked."""
    if not plan.with_accounts:
        results.skip("no-accounts", *(rule.id for rule in accounts.RULES))
    for check in CHECKS:
        if not {mode.name for mode in check.modes} & {mode.name for mode in plan.modes}:
            results.skip("other-mode", check.rule.id)
