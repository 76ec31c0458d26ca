"""The outbox as a page, in numbers and for /health/ready."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bookings import sas_appointment

from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.base import Schema, Store
from fhirstore_sas.relay import metrics, outbox, page
from fhirstore_sas.relay.message import message_of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(f"sqlite:///{tmp_path / 'p.db'}", Settings())
    made.open(Schema({}))
    yield made
    made.close()


def tell(store: Store, id: str, value: str = "v", at: float | None = None) -> None:
    store.commit([], records=[outbox.row(id, 1, message_of(sas_appointment(value)), True, at)])


def end(store: Store, id: str, status: int, error: str, again: float | None) -> None:
    held = outbox.lease(store, id, 60)
    assert held is not None
    assert outbox.failed(store, held, status, error, again=again)


def values(store: Store) -> dict[str, list[float]]:
    return {m.name.removeprefix("fhirstore_sas_outbox_"): [s.value for s in m.samples] for m in metrics.read(store)}


def test_an_empty_outbox_says_so(store: Store) -> None:
    assert "The platform knows all that it is to know." in page.write(store, {})
    assert values(store) == {"appointments": [0, 0, 0], "oldest_seconds": [0], "attempts": [0]}
    assert list(metrics.unhealthy(store)) == []


def test_each_state_is_shown_and_counted(store: Store) -> None:
    for id in ("waits", "is-sent", "is-parked", "was-sent"):
        tell(store, id, at=time.time() - 100)
    end(store, "is-parked", 422, "422: no", None)
    end(store, "waits", 503, "503: busy", time.time() + 50)
    done = outbox.lease(store, "was-sent", 60)
    assert done is not None
    outbox.sent(store, done, 201)
    outbox.lease(store, "is-sent", 60)
    html = page.write(store, {})
    assert all(text in html for text in ("Parked (1)", "Being sent (1)", "Waiting (1)", "422: no", "503: busy, again "))
    assert "was-sent" not in html
    found = values(store)
    assert (found["appointments"], found["attempts"]) == ([1, 1, 1], [2])
    assert found["oldest_seconds"][0] >= 100
    [issue] = metrics.unhealthy(store)
    assert (issue.severity, issue.diagnostics.startswith("1 appointments")) == ("warning", True)


def test_what_others_wrote_is_escaped(store: Store) -> None:
    tell(store, "a", "<script>alert(1)</script>&\"'")
    end(store, "a", 400, "<img src=x onerror=alert(2)>", None)
    html = page.write(store, {"x": "<script>"})
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#x27;" in html


def test_a_long_list_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "MOST", 2)
    for n in range(5):
        tell(store, f"n{n}", at=float(n + 1))
    html = page.write(store, {})
    assert "and 3 older ones" in html
    assert ("n4" in html, "n0" in html) == (True, False)
