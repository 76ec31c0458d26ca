"""Durable jobs for operators: the page /jobs and the metrics."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.api import Api, Template

from fhirstore.http import jobs_page
from fhirstore.jobs.model import Progress, Rejected, Retry
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.stats import StatsWriter


@pytest.fixture(scope="module")
def template() -> Template:
    return Template.make()


@pytest.fixture
def api(template: Template, tmp_path: Path) -> Api:
    return template.fresh(tmp_path / "t.db")


@pytest.fixture
def queue(api: Api) -> JobQueue:
    """A parked job, a running one with progress, one that waits, one in the queue, and a finished one."""
    queue, writer = JobQueue(api.ctx.store, "mail"), StatsWriter("mail")
    for key in ("done", "parked", "running", "waiting", "queued"):
        queue.submit(key)
    claims = {key: queue.claim(job_id(key)) for key in ("done", "parked", "running", "waiting")}
    assert all(claims.values())
    queue.complete(claims["done"], {"n": 1}, writer)  # type: ignore[arg-type]
    queue.fail(claims["parked"], Rejected("<b>no</b>"), writer)  # type: ignore[arg-type]
    queue.renew(claims["running"], Progress(3, 10, "pages"))  # type: ignore[arg-type]
    queue.fail(claims["waiting"], Retry("busy", wait_s=3600.0), writer)  # type: ignore[arg-type]
    return queue


def test_a_store_without_jobs_says_so(api: Api) -> None:
    answer = api.get("/jobs")
    assert (answer.status_code, answer.content_type) == (200, "text/html;charset=utf-8")
    assert "No jobs." in answer.text


@pytest.mark.usefixtures("queue")
def test_the_page_shows_the_jobs_of_each_state_in_the_order_of_attention(api: Api) -> None:
    html = api.get("/jobs").text
    assert "<h2>mail</h2>" in html
    assert "1 done, 2 failed attempts. Pending jobs: 4. queued: 1, running: 1, waiting: 1, parked: 1" in html
    places = [html.index(f"<td>{key}</td>") for key in ("parked", "running", "waiting", "queued", "done")]
    assert places == sorted(places)
    assert "<td>3/10 pages</td>" in html


@pytest.mark.usefixtures("queue")
def test_texts_of_others_are_escaped(api: Api) -> None:
    html = api.get("/jobs?queue=%3Cscript%3E").text
    assert "<script" not in html
    assert "&lt;b&gt;no&lt;/b&gt;" in api.get("/jobs").text


def test_one_queue_can_be_shown(api: Api, queue: JobQueue) -> None:
    JobQueue(api.ctx.store, "other").submit("x")
    assert "<h2>other</h2>" in api.get("/jobs").text
    html = api.get("/jobs?queue=mail").text
    assert ("<h2>mail</h2>" in html, "<h2>other</h2>" in html) == (True, False)


@pytest.mark.usefixtures("queue")
def test_the_page_is_in_french_if_that_is_preferred(api: Api) -> None:
    html = api.get("/jobs", **{"Accept-Language": "fr"}).text
    for text in (
        '<html lang="fr">',
        "<h1>Tâches</h1>",
        "<th>Dernière erreur</th>",
        "Tâches terminées : 1, essais échoués : 2",
    ):
        assert text in html


def test_a_long_list_is_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_page, "MOST", 2)
    for n in range(5):
        JobQueue(api.ctx.store, "mail").submit(f"n{n}")
    html = api.get("/jobs").text
    assert "and 3 others (fhirstore jobs list --queue mail)" in html
    assert [f"<td>n{n}</td>" in html for n in range(5)] == [True, True, False, False, False]


@pytest.mark.usefixtures("queue")
def test_metrics_count_the_jobs_of_each_queue(api: Api) -> None:
    lines = api.get("/metrics").text.splitlines()
    for state in ("queued", "running", "waiting", "parked"):
        assert f'fhirstore_jobs{{queue="mail",state="{state}"}} 1.0' in lines
    assert 'fhirstore_jobs_done_total{queue="mail"} 1.0' in lines
    assert 'fhirstore_job_failures_total{queue="mail"} 2.0' in lines
    assert 'fhirstore_jobs_parked_total{queue="mail"} 1.0' in lines
    [age] = [line for line in lines if line.startswith("fhirstore_jobs_oldest_seconds{")]
    assert float(age.split()[-1]) >= 0


def test_the_page_is_shown_to_operators_only(api: Api) -> None:
    assert api.get("/jobs", **{"X-Forwarded-For": "192.0.2.1"}).status_code == 403
