"""A clock that tests set."""

from __future__ import annotations


class Clock:
    """Seconds since 1970, which tests advance. Two readings differ, so that two events have two times."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        self.now += 0.001
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
