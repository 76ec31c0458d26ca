"""What editors and the platform send, with something in it damaged: never an internal error, whatever is checked."""

from __future__ import annotations

import copy
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from support.bookings import sas_appointment
from support.fuzz import Generator, encoded
from support.stores import open_empty, schema_of

from fhirstore.http.app import make_app
from fhirstore.interactions.server import Server
from fhirstore_sas import demo_data

DEMO = list(demo_data.resources(demo_data.today()))
CASES = 250
RELAY = "http://127.0.0.1:1/fhir"


def samples() -> list[dict[str, Any]]:
    """Two resources of each type, two accounts, and appointments that take a free slot."""
    found, taken = list[dict[str, Any]](), Counter[tuple[str, bool]]()
    for resource in DEMO:
        kind = resource["resourceType"], "source" in resource.get("meta", {})
        taken[kind] += 1
        if taken[kind] <= 2:
            found.append(resource)
    free = next(r["id"] for r in DEMO if r["resourceType"] == "Slot" and r["status"] == "free")
    booked = sas_appointment("n1", slot=[{"reference": f"Slot/{free}"}])
    return [*found, *[copy.deepcopy(booked) for _ in range(4)]]


@pytest.fixture(params=["enforce", "off"])
def damaged(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Any:
    """A server with the demo's agenda, booking and a relay; its validation is that of the parameter."""
    settings = replace(server.settings, store=f"sqlite:///{tmp_path / 'd.db'}", validation=request.param)
    settings = replace(settings, plugin_options=(f"sas.relay_url={RELAY}",))
    store = open_empty(settings, schema_of(server))
    api = Api(make_app(ctx := replace(server, settings=settings, store=store)), ctx)
    entries = [{"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in DEMO]
    assert api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries}).status_code == 200
    yield api
    store.close()


def test_no_damage_ends_in_an_internal_error(damaged: Api) -> None:
    rng, generator, intact = random.Random(11), Generator(11), samples()
    seen = Counter[bool]()
    for _ in range(CASES):
        resource = rng.choice(intact)
        type, id = resource["resourceType"], resource.get("id", "a1")
        changed = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            resource, what = generator.damaged(resource)
            changed.append(what)
        method, path = rng.choice(
            [
                ("POST", type),
                ("PUT", f"{type}/{id}"),
                ("PUT", f"{type}?identifier=urn:oid:1.2.250.1.213.3.6%7Cx"),
                ("POST", f"{type}/$validate"),
            ]
        )
        answer = damaged.call(method, path, encoded(resource), Accept_Language="fr")
        assert answer.status_code < 500, (method, path, changed, answer.text[:200])
        seen[answer.status_code < 400] += 1
    for query in demo_data.queries("http://localhost/fhir", demo_data.today()):
        assert damaged.get(query[1].partition("/fhir/")[2]).status_code == 200
    assert damaged.call("GET", "/metrics").status_code == 200
    assert damaged.call("GET", "/sas/outbox").status_code == 200
    assert min(seen[True], seen[False]) > CASES // 20, seen
