"""The outbox as a page, in numbers and for /health/ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.outbox import Outbox, key, message

from fhirstore.errors import translation
from fhirstore.http.language import catalogues
from fhirstore.interactions.server import Server
from fhirstore.jobs import records
from fhirstore.jobs.stats import StatsWriter
from fhirstore.model.indexing import Schema
from fhirstore.plugins import Done, Rejected, Retry
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore_sas.relay import page, status


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    made = open_store(f"sqlite:///{tmp_path / 'p.db'}", Settings())
    made.open(Schema({}))
    yield Outbox(made)
    made.close()


def values(outbox: Outbox) -> dict[str, list[float]]:
    return {m.name.removeprefix("fhirstore_sas_"): [s.value for s in m.samples] for m in status.metrics(outbox.jobs)}


NO, BUSY = Rejected("422: no", {"status": 422}), Retry("503: busy", {"status": 503}, 50.0)


@pytest.fixture
def french(server: Server) -> Iterator[None]:
    """As in a request that prefers French."""
    token = translation.set(catalogues(server.plugins)["fr"])
    yield
    translation.reset(token)


def test_an_empty_outbox_says_so(outbox: Outbox) -> None:
    assert "All appointments have been sent to the platform." in page.render(outbox.jobs, {})
    assert values(outbox) == {
        "outbox_appointments": [0, 0, 0], "outbox_oldest_seconds": [0], "outbox_attempts": [0],
        "relay_sent_total": [0], "relay_failures_total": [0], "relay_parked_total": [0],
        "relay_last_sent_timestamp_seconds": [0],
    }  # fmt: skip
    assert list(status.unhealthy(outbox.jobs)) == []


def test_each_state_is_shown_and_counted(outbox: Outbox) -> None:
    outbox.enqueue(*(message(id) for id in ("waits", "is-sent", "is-parked", "was-sent")))
    writer = StatsWriter("sas-relay")
    outbox.deliver(key("is-parked"), NO, writer)
    outbox.deliver(key("waits"), BUSY, writer)
    outbox.deliver(key("was-sent"), Done({"status": 201}), writer)
    outbox.claim(key("is-sent"))
    html = page.render(outbox.jobs, {})
    assert '<html lang="en">' in html
    for text in (
        "Parked appointments: 1", "appointments being sent: 1", "Waiting appointments: 1", "422: no",
        "503: busy, tried again at ", "<th>Appointment</th><th>Identifier</th>",
    ):  # fmt: skip
        assert text.lower() in html.lower()
    assert "was-sent" not in html
    found = values(outbox)
    assert (found["outbox_appointments"], found["outbox_attempts"]) == ([1, 1, 1], [2])
    assert found["outbox_oldest_seconds"][0] > 0
    assert [found[f"relay_{name}_total"] for name in ("sent", "failures", "parked")] == [[1], [2], [1]]
    assert found["relay_last_sent_timestamp_seconds"][0] > 0
    [issue] = status.unhealthy(outbox.jobs)
    assert (issue.severity, issue.diagnostics.startswith("1 appointments")) == ("warning", True)


def test_the_page_is_in_french_where_that_is_preferred(outbox: Outbox, french: None) -> None:
    assert "Tous les rendez-vous ont été envoyés à la plateforme." in page.render(outbox.jobs, {})
    outbox.enqueue(*(message(id) for id in "abc"))
    outbox.deliver(key("a"), NO)
    outbox.deliver(key("b"), BUSY)
    outbox.claim(key("c"))
    html = page.render(outbox.jobs, {})
    assert '<html lang="fr">' in html
    for text in (
        "<title>Rendez-vous pour la plateforme</title>", "Rendez-vous en attente d&#x27;une intervention : 1",
        "Rendez-vous en cours d&#x27;envoi : 1", "Rendez-vous en attente d&#x27;envoi : 1", "nouvel essai à 20",
        "<th>Rendez-vous</th><th>Identifiant</th><th>Statut</th><th>Depuis</th><th>Essais</th><th>Réponse</th>",
    ):  # fmt: skip
        assert text in html


def test_what_others_wrote_is_escaped(outbox: Outbox) -> None:
    [found] = outbox.enqueue(message("<script>alert(1)</script>&\"'", id="a"))
    outbox.deliver(found, Rejected("<img src=x onerror=alert(2)>", {"status": 400}))
    html = page.render(outbox.jobs, {"x": "<script>"})
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in html


def test_a_long_list_is_cut(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 2)
    for n in range(5):
        outbox.enqueue(message(f"n{n}"))
    html = page.render(outbox.jobs, {})
    assert "and 3 others (fhirstore sas outbox list)" in html
    assert [f"<td>n{n}</td>" in html for n in range(5)] == [True, True, False, False, False]


def test_of_many_parked_ones_readiness_counts_only_some(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "PAGE", 2)
    for n in range(3):
        outbox.enqueue(message(f"n{n}"))
        outbox.deliver(key(f"n{n}"), NO)
    [issue] = status.unhealthy(outbox.jobs)
    assert issue.diagnostics.startswith("2+ appointments")
