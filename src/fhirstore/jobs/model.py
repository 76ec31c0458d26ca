"""Types that describe jobs to handlers, commands and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

JobState = Literal["queued", "running", "waiting", "parked", "done", "failed"]
"""queued: not tried yet. running: a worker has the lease. waiting: tried again later. parked: not tried again until
somebody replays it. done, failed: finished."""
PENDING_STATES: tuple[JobState, ...] = ("queued", "running", "waiting", "parked")


class Progress(msgspec.Struct, frozen=True):
    """How far a run has come. total: None if it is unknown. message: one line for operators."""

    done: int = 0
    total: int | None = None
    message: str = ""

    def __str__(self) -> str:
        number = f"{self.done}" if self.total is None else f"{self.done}/{self.total}"
        return f"{number} {self.message}".strip()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter.

    first_s: pause after the first failure, in seconds; each further pause doubles, up to longest_s. jitter: the part
    of a pause that is random (0 to 1). give_up_after_s: seconds since the first attempt after which a failure is
    final."""

    first_s: float = 1.0
    longest_s: float = 300.0
    jitter: float = 0.5
    give_up_after_s: float = 86400.0

    def pause_s(self, attempts: int, random: float) -> float:
        """Seconds until the next attempt. attempts: those made so far, at least 1. random: 0 to 1."""
        # 2.0**30 seconds are 34 years; a greater exponent would overflow in the end.
        pause = min(self.first_s * 2.0 ** min(attempts - 1, 30), self.longest_s)
        return pause * (1 - self.jitter * (1 - random))


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How a queue delivers its jobs.

    delivery: "each" delivers every item of a key, in order. "latest" delivers only the newest item of a key, for items
    that contain the whole state. lease_s: seconds after which another worker takes over the job of a worker that was
    killed; workers renew the lease of a job that takes longer. keep_done_s: seconds for which the last result of a key
    is kept. on_failure: state of a job that is not tried again. forget_keys: a key whose result has expired counts as
    never seen; use it if keys are not reused. max_crashes: runs in a row that end with their process, without a new
    checkpoint, after which the job is not tried again."""

    delivery: Literal["each", "latest"] = "each"
    retry: RetryPolicy = RetryPolicy()
    lease_s: float = 30.0
    keep_done_s: float = 30 * 86400.0
    on_failure: Literal["parked", "failed"] = "parked"
    forget_keys: bool = False
    max_crashes: int = 5


DEFAULT_OPTIONS = QueueOptions()


@dataclass(frozen=True, slots=True)
class Done:
    """A handler has finished a job. result: JSON-able; stored and given to the next run of the key."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Retry:
    """A handler has failed for now. error: one line for operators. outcome: JSON-able detail. wait_s: the least pause
    in seconds. unavailable: the other side did not answer, which the circuit breaker counts."""

    error: str
    outcome: Any = None
    wait_s: float = 0.0
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A handler has failed for good. The job is parked, or fails (`QueueOptions.on_failure`)."""

    error: str
    outcome: Any = None


Outcome = Done | Retry | Rejected


@dataclass(frozen=True, slots=True)
class Job:
    """The work of one key of a queue, as operators see it.

    id: identifies the key within the queue, 32 hexadecimal digits. key, payload: as enqueued; the payload is that of
    the item that is delivered next, or was delivered last. created: when that item was enqueued; next: of the next
    attempt; finished: of the last result; seconds since 1970, None if not applicable. items: undelivered items of the
    key. owner: host and process that have the lease. outcome: detail of the last failed attempt. result: the last
    one of the key, also while a later item is pending."""

    queue: str
    id: str
    key: str
    state: JobState
    payload: Any
    created: float
    seq: int = 0
    items: int = 0
    attempts: int = 0
    next: float | None = None
    finished: float | None = None
    owner: str = ""
    error: str = ""
    outcome: Any = None
    progress: Progress | None = None
    result: Any = None
