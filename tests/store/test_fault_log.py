"""Faults of a database are logged, but not once per request."""

from __future__ import annotations

import time

import pytest

from fhirstore.store.fault_log import FaultLog


def test_a_fault_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    faults, now = FaultLog(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for _ in range(5):
        faults.report("the disk is full")
    assert caplog.messages == ["store: the disk is full"]

    now += 61
    faults.report("the disk is full")
    faults.report("the disk is full")

    assert caplog.messages[1:] == ["store: the disk is full (4 more times since the last line)"]


def test_each_fault_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    faults = FaultLog()
    for text in ("the disk is full", "the database is damaged", "the disk is full"):
        faults.report(text)

    assert caplog.messages == ["store: the disk is full", "store: the database is damaged"]


def test_the_memory_of_faults_is_bounded() -> None:
    faults = FaultLog()
    for n in range(10_000):
        faults.report(f"fault {n}")

    assert len(faults._seen) <= 100
