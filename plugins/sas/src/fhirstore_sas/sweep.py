"""Looks through the free slots of the next days now and then, and keeps in numbers what is wrong with them, for the log
and for metrics. Searches are not troubled: it goes in small steps, in one process of all that share a store.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from fhirstore.plugins import (
    Metric,
    PluginOption,
    Record,
    Sample,
    Store,
    StoreError,
)
from fhirstore_sas import inspection
from fhirstore_sas.findings import Findings

log = logging.getLogger(__name__)

OPTION = "sas.sweep"
USUAL = "900"
KIND, KEY = "sas-sweep", "last"
WINDOW = timedelta(days=3)
"""What the platform asks for (SPEC §3.2)."""
_PAGE, _STEP = 250, 25
_PAUSE_S, _PAUSES = 0.05, 12
"""After each step, so that requests of this process are not held up: so many seconds, or so many times what the step
took, whichever is more. On a machine that has much to do a sweep takes its time."""
MOST = 200_000
"""Slots that one sweep looks at."""


def seconds(text: str) -> float:
    """Between two sweeps; 0 = none. Raises ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise ValueError("a number of seconds, 0 = never")
    return float(text)


CHOICE = PluginOption(OPTION.partition(".")[2], default=USUAL, check=seconds)


def every(options: Mapping[str, str]) -> float:
    return seconds(options.get(OPTION, USUAL))


@dataclass
class Seen:
    """What a sweep found. at: seconds since 1970. faults: by rule, how many slots it concerns. whole: no slot was left
    for want of time."""

    at: float
    examined: int = 0
    left_out: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    whole: bool = True


def last(store: Store) -> Seen | None:
    """The last one that came to its end; None = none yet."""
    record = store.get_record(KIND, KEY)
    return Seen(**json.loads(record.value)) if record and record.value else None


def sweep(
    store: Store, now: datetime, pause: Callable[[float], bool], clock: Callable[[], float] = time.monotonic
) -> Seen | None:
    """Looks at the slots that start in the days after now. pause(seconds): waits; True = stop, which answers None."""
    where = inspection.free_slots(now, now + WINDOW)
    seen, faults = Seen(now.timestamp()), Counter[str]()
    after = None
    while True:
        begun = clock()
        page = store.find("Slot", where, (), after, _PAGE)
        for at in range(0, len(page.entries), _STEP):
            rows = page.entries[at : at + _STEP]
            found = Findings.of(store, rows)
            seen.examined += len(rows)
            seen.left_out += len(found.left_out)
            for finding in found:
                faults[finding.issue.rule or ""] += finding.slots
            if pause(max(_PAUSE_S, _PAUSES * (clock() - begun))):
                return None
            begun = clock()
        after = page.next
        if after is None or seen.examined >= MOST:
            break
    seen.whole, seen.faults = after is None, dict(sorted(faults.items()))
    return seen


def keep(store: Store, seen: Seen) -> None:
    store.commit((), (), (Record(KIND, KEY, json.dumps(asdict(seen)).encode()),))
    level = logging.WARNING if seen.left_out or seen.faults else logging.INFO
    log.log(
        level,
        "of %d free slots in the next days %d are not shown to the platform; faults: %s ($sas-check tells more)",
        seen.examined,
        seen.left_out,
        ", ".join(f"{rule} {count}" for rule, count in seen.faults.items()) or "none",
        extra={"examined": seen.examined, "left_out": seen.left_out, "faults": seen.faults},
    )


def run(store: Store, every: float, stop: threading.Event) -> None:
    """A sweep each so many seconds until `stop`; 0 = none. While the store cannot answer nothing is looked at, and
    nothing at all where slots are not served."""
    begun = time.time()
    while every and not stop.is_set():
        try:
            wait = until_next(store, begun, every)
            seen = sweep(store, datetime.now(UTC), stop.wait) if wait <= 0 else None
            if seen is not None:
                keep(store, seen)
        except StoreError as problem:
            log.warning("slots cannot be looked through now: %s", problem)
            wait = every
        except (ValueError, LookupError) as problem:
            log.debug("there are no slots to look through: %s", problem)
            return
        stop.wait(min(max(wait, 0.0), every))


@contextmanager
def beside(store: Store, every: float) -> Iterator[None]:
    """Sweeps in a thread of their own while the body runs."""
    stop = threading.Event()
    sweeper = threading.Thread(target=run, args=(store, every, stop), name="sas-sweep", daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        stop.set()
        sweeper.join(1)


def until_next(store: Store, begun: float, every: float) -> float:
    """Seconds. One that another server of the store has made counts; the first comes after as long, so that no start is
    slowed."""
    done = last(store)
    return (begun if done is None else done.at) + every - time.time()


def metrics(store: Store) -> Iterator[Metric]:
    """What the last sweep saw; nothing before there was one."""
    seen = last(store)
    if seen is None:
        return
    yield Metric(
        "fhirstore_sas_sweep_age_seconds",
        "Time since the slots of the next days were looked through.",
        (Sample(round(max(0.0, time.time() - seen.at), 3)),),
    )
    yield Metric(
        "fhirstore_sas_slots",
        "Free slots of the next days, by whether the SAS platform is shown them.",
        (Sample(seen.examined - seen.left_out, {"shown": "yes"}), Sample(seen.left_out, {"shown": "no"})),
    )
    yield Metric(
        "fhirstore_sas_slot_faults",
        "How many of these slots a fault concerns, by rule.",
        tuple(Sample(count, {"rule": rule}) for rule, count in seen.faults.items()),
    )
