"""`fhirstore sas check` on our own server: whole, it has no finding; damaged in one way, exactly those expected."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any

import httpx
import pytest
from support.sas_damage import Damage, Proxy
from support.sas_damages import DAMAGES
from support.stores import open_empty, schema_of

from fhirstore.http.app import make_app
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.server import Server
from fhirstore_sas import demo_data
from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.model import CheckReport
from fhirstore_sas.check.queries import PARIS
from fhirstore_sas.check.run import CheckPlan, run
from fhirstore_sas.searches import CPTS, PS, SOS, Mode

DAY = date(2026, 10, 24)  # summer time ends in the window
NOW = datetime(2026, 10, 24, 8, tzinfo=PARIS)
ONE_PLACE, TWO_PLACES, TWO_CPTS = "899900000001", "899900000002", "899900000004"
ASSOCIATION = "399900000000112"


@pytest.fixture(scope="module")
def ctx(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The demonstration of a fixed day."""
    settings = replace(server.settings, store=f"sqlite:///{tmp_path_factory.mktemp('check') / 'demo.db'}")
    store = open_empty(settings, schema_of(server))
    ctx = replace(server, settings=settings, store=store, secret=store.secret())
    refused = [issues for _, issues in put_many(ctx, list(demo_data.resources(DAY))) if issues]
    assert [i for issues in refused for i in issues if i.is_error] == []
    yield ctx
    store.close()


def report(ctx: Server, damage: Damage, **plan: Any) -> CheckReport:
    people = (TWO_CPTS,) if damage.mode is CPTS else (ONE_PLACE, TWO_PLACES)
    wanted = {"max_seconds": 1000.0, "practitioners": people, "associations": (ASSOCIATION,), **plan}
    with EndpointClient("http://localhost/fhir", transport=Proxy(make_app(ctx), damage)) as client:
        return run(
            client, CheckPlan((damage.mode,), with_accounts=damage.accounts, **wanted), ctx.validator.validate, NOW
        )


def found(report: CheckReport) -> set[str]:
    return {finding.rule.id for finding in report.findings}


@pytest.mark.parametrize("mode", [PS, CPTS, SOS], ids=lambda m: m.name)
def test_our_own_server_has_no_finding(ctx: Server, mode: Mode) -> None:
    done = report(ctx, Damage("none", frozenset(), mode, accounts=True))
    assert found(done) == set()
    skipped = {rule.id: why for rule, why in done.skipped}
    assert {id for id, why in skipped.items() if why == "no-answer"} <= {"search-blank-after-comma"}
    assert "account-identifier-freed" in {rule.id for rule in done.passed}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.what)
def test_a_damaged_server_gives_exactly_the_findings_expected(ctx: Server, damage: Damage) -> None:
    done = report(ctx, damage)
    assert found(done) == damage.expected, [(f.rule.id, str(f.occurrences[0].faults[0])) for f in done.findings]
    assert all(f.occurrences[0].exchange.url.startswith("http://localhost/fhir") for f in done.findings)


class Picky(Proxy):
    """Knows one media type only."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.headers["accept"] == "application/json":
            return httpx.Response(406, text="unknown")
        return super().handle_request(request)


def test_a_server_that_refuses_a_media_type_is_found(ctx: Server) -> None:
    transport = Picky(make_app(ctx), Damage("none", frozenset()))
    with EndpointClient("http://localhost/fhir", transport=transport) as client:
        plan = CheckPlan((PS,), (ONE_PLACE,), max_seconds=1000.0)
        assert found(run(client, plan, ctx.validator.validate, NOW)) == {"search-accept"}
