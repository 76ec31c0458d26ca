"""When attempts stop because the other side does not answer, and when they start again."""

from __future__ import annotations

import threading

from fhirstore.jobs.breaker import CircuitBreaker


def test_it_opens_after_many_failures_and_closes_at_an_answer() -> None:
    now = [1000.0]
    breaker = CircuitBreaker(30.0, lambda: now[0])
    found = []
    for _ in range(CircuitBreaker.FAILURES + 7):
        breaker.record_failure()
        found.append(breaker.open_s())
    assert found == [0.0] * (CircuitBreaker.FAILURES - 1) + [1, 2, 4, 8, 16, 30, 30, 30]
    now[0] += 30
    assert breaker.open_s() == 0
    breaker.record_success()
    breaker.record_failure()
    assert breaker.open_s() == 0


def test_an_answer_lets_all_waiting_threads_go_on_at_once() -> None:
    breaker, stop, passed = CircuitBreaker(3600.0), threading.Event(), []
    for _ in range(CircuitBreaker.FAILURES + 12):
        breaker.record_failure()
    assert breaker.open_s() > 1000
    waiting = [threading.Thread(target=lambda: passed.append(breaker.wait(stop))) for _ in range(3)]
    for one in waiting:
        one.start()
    breaker.record_success()
    for one in waiting:
        one.join(10)
    assert passed == [True, True, True]
    for _ in range(CircuitBreaker.FAILURES + 12):
        breaker.record_failure()
    stop.set()
    assert not breaker.wait(stop)
