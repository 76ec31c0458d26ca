"""The outbox as a page, in numbers and for /health/ready."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bookings import sas_appointment

from fhirstore.errors import translation
from fhirstore.http.language import catalogues
from fhirstore.interactions.context import Server
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Record, RecordGuard
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore_sas.relay import metrics, outbox, page, rows
from fhirstore_sas.relay.message import message_of
from fhirstore_sas.relay.outbox import Told
from fhirstore_sas.relay.tally import Tally


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'p.db'}", Settings())
    made.open(Schema({}))
    yield made
    made.close()


def tell(store: Store, id: str, value: str | None = None) -> str:
    """The unit."""
    told = Told(id, 1, message_of(sas_appointment(value or id)), True)
    made = list(outbox.news(store, [told]))
    guards = [one for one in made if isinstance(one, RecordGuard)]
    store.commit([], guards, [one for one in made if isinstance(one, Record)])
    return told.unit


def end(store: Store, unit: str, status: int, error: str, again: float | None) -> None:
    held = outbox.lease(store, unit, 60)
    assert held is not None
    assert outbox.failed(store, held, status, error, again=again, tally=Tally())


def values(store: Store) -> dict[str, list[float]]:
    return {m.name.removeprefix("fhirstore_sas_"): [s.value for s in m.samples] for m in metrics.read(store)}


@pytest.fixture
def french(server: Server) -> Iterator[None]:
    """As in a request that prefers French."""
    token = translation.set(catalogues(server.plugins)["fr"].translate)
    yield
    translation.reset(token)


def test_an_empty_outbox_says_so(store: Store) -> None:
    assert "The platform knows all that it is to know." in page.write(store, {})
    assert values(store) == {
        "outbox_appointments": [0, 0, 0], "outbox_oldest_seconds": [0], "outbox_attempts": [0],
        "relay_sent_total": [0], "relay_failures_total": [0], "relay_parked_total": [0],
        "relay_last_sent_timestamp_seconds": [0],
    }  # fmt: skip
    assert list(metrics.unhealthy(store)) == []


def test_each_state_is_shown_and_counted(store: Store) -> None:
    unit = {id: tell(store, id) for id in ("waits", "is-sent", "is-parked", "was-sent")}
    end(store, unit["is-parked"], 422, "422: no", None)
    end(store, unit["waits"], 503, "503: busy", time.time() + 50)
    done = outbox.lease(store, unit["was-sent"], 60)
    assert done is not None
    outbox.sent(store, done, 201, "", Tally())
    outbox.lease(store, unit["is-sent"], 60)
    html = page.write(store, {})
    assert '<html lang="en">' in html
    for text in (
        "Parked appointments: 1", "appointments that are being sent: 1", "Waiting appointments: 1", "422: no",
        "503: busy, tried again at ", "<th>Appointment</th><th>Identifier</th>",
    ):  # fmt: skip
        assert text.lower() in html.lower()
    assert "was-sent" not in html
    found = values(store)
    assert (found["outbox_appointments"], found["outbox_attempts"]) == ([1, 1, 1], [2])
    assert found["outbox_oldest_seconds"][0] > 0
    assert [found[f"relay_{name}_total"] for name in ("sent", "failures", "parked")] == [[1], [2], [1]]
    assert found["relay_last_sent_timestamp_seconds"][0] > 0
    [issue] = metrics.unhealthy(store)
    assert (issue.severity, issue.diagnostics.startswith("1 appointments")) == ("warning", True)


def test_the_page_is_in_french_where_that_is_preferred(store: Store, french: None) -> None:
    assert "La plateforme sait tout ce qu&#x27;elle doit savoir." in page.write(store, {})
    end(store, tell(store, "a"), 422, "422: no", None)
    end(store, tell(store, "b"), 503, "503: busy", time.time() + 50)
    outbox.lease(store, tell(store, "c"), 60)
    html = page.write(store, {})
    assert '<html lang="fr">' in html
    for text in (
        "<title>Rendez-vous pour la plateforme</title>", "Rendez-vous en attente d&#x27;une intervention : 1",
        "Rendez-vous en cours d&#x27;envoi : 1", "Rendez-vous en attente d&#x27;envoi : 1", "nouvel essai à 20",
        "<th>Rendez-vous</th><th>Identifiant</th><th>Statut</th><th>Depuis</th><th>Essais</th><th>Réponse</th>",
    ):  # fmt: skip
        assert text in html


def test_what_others_wrote_is_escaped(store: Store) -> None:
    unit = tell(store, "a", "<script>alert(1)</script>&\"'")
    end(store, unit, 400, "<img src=x onerror=alert(2)>", None)
    html = page.write(store, {"x": "<script>"})
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in html


def test_a_long_list_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 2)
    for n in range(5):
        tell(store, f"n{n}")
    html = page.write(store, {})
    assert "and 3 others (fhirstore sas outbox list)" in html
    assert [f"<td>n{n}</td>" in html for n in range(5)] == [True, True, False, False, False]


def test_of_many_parked_ones_readiness_counts_only_some(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "PAGE", 2)
    for n in range(3):
        end(store, tell(store, f"n{n}"), 422, "422: no", None)
    [issue] = metrics.unhealthy(store)
    assert issue.diagnostics.startswith("2+ appointments")
