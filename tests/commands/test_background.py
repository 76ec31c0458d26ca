"""Background work: in one process of a server, started again after a failure, ended with the server."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.process import Process

from fhirstore.commands.background import Background
from fhirstore.plugins import PluginContext, hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins
from fhirstore.settings import Settings
from fhirstore.store import open_store

SOURCE = """
import os
from fhirstore.plugins import Issue, Record, hookimpl

@hookimpl
def background(context, stop):
    number = len(context.records.list("worker-pid"))
    context.records.commit([Record("worker-pid", f"{number:03}", str(os.getpid()).encode())])
    stop.wait()
    context.records.commit([Record("worker-end", f"{number:03}", b"")])

@hookimpl
def health(context):
    pids = " ".join(r.value.decode() for r in context.records.list("worker-pid"))
    return [Issue("information", "informational", pids)]
"""


def eventually(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not what():
        assert time.monotonic() < give_up, "it never came true"
        time.sleep(0.02)


def plugin_on_path(folder: Path, source: str) -> None:
    (folder / "worker_module.py").write_text(source)
    info = folder / "dist_worker-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dist-worker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fhirstore.plugins]\nworker = worker_module\n")


def test_one_process_of_a_server_does_it_and_another_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_on_path(tmp_path, SOURCE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = Process(tmp_path / "t.db", "--plugin", "worker", workers=3, threads=2)

    def pids() -> list[int]:
        text: str = server.call("GET", "/health/ready")[2]["issue"][0]["diagnostics"]
        return [int(part) for part in text.split()]

    try:
        eventually(lambda: len(pids()) == 1)
        first = pids()[0]
        assert first != server.process.pid
        os.kill(first, signal.SIGKILL)
        eventually(lambda: len(pids()) == 2)
        assert pids()[1] != first
    finally:
        server.stop()
    assert server.process.returncode == 0
    store = open_store(f"sqlite:///{tmp_path / 't.db'}", Settings())
    assert len(store.records("worker-pid")) == 2
    assert [r.key for r in store.records("worker-end")] == ["001"]  # it had time to record that it was stopped
    store.close()


class Works:
    """Fails twice, then works until it is stopped."""

    def __init__(self) -> None:
        self.calls = 0
        self.working = threading.Event()

    @hookimpl
    def background(self, context: PluginContext, stop: threading.Event) -> None:
        self.calls += 1
        if self.calls < 3:
            raise RuntimeError(f"failure {self.calls} of {context.plugin}")
        self.working.set()
        stop.wait()


class Ignores(Works):
    """Does not stop."""

    @hookimpl
    def background(self, stop: threading.Event) -> None:
        self.working.set()
        threading.Event().wait(60)


Start = Callable[..., Background]


@pytest.fixture
def started() -> Iterator[Start]:
    made: list[Background] = []

    def start(*plugins: object) -> Background:
        background = Background(restart_s=0.01, stop_s=0.1, handlers=lambda server: [])
        made.append(background)
        found = [LoadedPlugin(f"p{n}", "test", plugin) for n, plugin in enumerate(plugins)]
        loaded = Plugins(found)
        served = SimpleNamespace(plugins=loaded, contexts=loaded.contexts())
        background.server = served  # type: ignore[assignment]
        background.start()
        return background

    yield start
    for background in made:
        background.close()


def test_work_that_fails_is_logged_and_started_again(started: Start, caplog: pytest.LogCaptureFixture) -> None:
    works = Works()
    with caplog.at_level(logging.ERROR):
        background = started(works)
        assert works.working.wait(20)
        background.stop()
    assert works.calls == 3
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["failure 1 of p0", "failure 2 of p0"]
    assert not any(thread.is_alive() for thread in background._threads)


def test_of_two_plugins_each_does_its_own(started: Start) -> None:
    one, two = Works(), Works()
    background = started(one, two)
    assert one.working.wait(20)
    assert two.working.wait(20)
    background.stop()


def test_work_that_does_not_stop_is_left_behind(started: Start) -> None:
    ignores = Ignores()
    background = started(ignores)
    assert ignores.working.wait(20)
    background.stop()  # returns
    assert all(thread.daemon for thread in background._threads)


def test_without_jobs_and_plugins_nothing_is_started(started: Start) -> None:
    background = started(SimpleNamespace())
    assert background._threads == []
    background.stop()
