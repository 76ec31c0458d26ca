"""The slot audit: regularly checks the free slots of the next days, and reports their faults in the log and in metrics.

It works in small steps with pauses, so that it does not slow down searches, as a periodic job of one of the servers
that share a store.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from fhirstore.plugins import (
    Done,
    JobHandler,
    JobRun,
    Metric,
    Outcome,
    PluginJobs,
    Progress,
    QueueOptions,
    ResourceReader,
    Sample,
)
from fhirstore_sas import inspection
from fhirstore_sas.findings import SlotFindings

log = logging.getLogger(__name__)

QUEUE = "sas-slot-audit"
WINDOW = timedelta(days=3)
"""The platform searches for the slots of these days (SPEC §3.2)."""
MOST = 200_000
"""Slots that one audit checks."""
_PAGE, _STEP = 250, 25
_PAUSE_S, _PAUSES = 0.05, 12
"""The pause after each step, so that requests of the same process are not delayed: this many seconds, or this many
times the duration of the step, whichever is longer. On a busy machine an audit takes longer."""
_STALE_S = 3600.0
"""An interrupted audit is started again if it is older."""


@dataclass
class SlotAudit:
    """The result of an audit. at: its start, in seconds since 1970. examined, left_out: slots checked, and those that
    the platform does not see. faults: slots concerned, by rule. whole: all slots of the window were checked."""

    at: float
    examined: int = 0
    left_out: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    whole: bool = True


class AuditRun(Protocol):
    """The part of a `JobRun` that an audit uses."""

    @property
    def state(self) -> Any: ...
    def checkpoint(self, state: Any, progress: Progress) -> None: ...
    def pause(self, seconds: float) -> None: ...


def slot_audit_handler(reader: Callable[[], ResourceReader], every_s: float) -> JobHandler:
    """every_s: seconds between the starts of two audits; 0 = none are started."""

    def run(job: JobRun) -> Outcome:
        try:
            found = audit(reader(), datetime.now(UTC), job)
        except (ValueError, LookupError) as problem:
            log.debug("this deployment has no slots to audit: %s", problem)
            return Done()
        report(found)
        return Done(asdict(found))

    options = QueueOptions(delivery="latest", on_failure="failed")
    return JobHandler(QUEUE, run, options, "Checks the free slots of the next days", every_s=every_s)


def audit(
    reader: ResourceReader, now: datetime, run: AuditRun, clock: Callable[[], float] = time.monotonic
) -> SlotAudit:
    """Checks the slots that start in the days after now, or continues the audit that was interrupted. Raises
    ValueError or LookupError if slots are not served."""
    found, after = _resumed(run.state, now)
    start = datetime.fromtimestamp(found.at, UTC)
    where, faults = inspection.free_slots(start, start + WINDOW), Counter(found.faults)
    while True:
        begun = clock()
        page = reader.find("Slot", where, (), after, _PAGE)
        for at in range(0, len(page.entries), _STEP):
            rows = page.entries[at : at + _STEP]
            findings = SlotFindings.of(reader, rows)
            found.examined += len(rows)
            found.left_out += len(findings.left_out)
            for finding in findings:
                faults[finding.issue.rule or ""] += finding.slots
            run.pause(max(_PAUSE_S, _PAUSES * (clock() - begun)))
            begun = clock()
        after, found.faults = page.next, dict(sorted(faults.items()))
        if after is None or found.examined >= MOST:
            found.whole = after is None
            return found
        run.checkpoint({"after": after, "audit": asdict(found)}, Progress(found.examined, None, "slots"))


def _resumed(state: Any, now: datetime) -> tuple[SlotAudit, list[Any] | None]:
    """The audit to continue, and the position of its next page."""
    if isinstance(state, dict):
        found = SlotAudit(**state["audit"])
        if now.timestamp() - found.at < _STALE_S:
            return found, state["after"]
    return SlotAudit(now.timestamp()), None


def report(found: SlotAudit) -> None:
    """Writes the result to the log, as a warning if there are faults."""
    level = logging.WARNING if found.left_out or found.faults else logging.INFO
    log.log(
        level,
        "%d free slots of the next days checked, %d not shown to the platform; faults: %s (details: $sas-check)",
        found.examined,
        found.left_out,
        ", ".join(f"{rule} {count}" for rule, count in found.faults.items()) or "none",
        extra={"examined": found.examined, "left_out": found.left_out, "faults": found.faults},
    )


def last_audit(jobs: PluginJobs) -> SlotAudit | None:
    """The last finished audit of any server."""
    job = jobs.get(QUEUE, QUEUE)
    return SlotAudit(**job.result) if job is not None and isinstance(job.result, dict) else None


def metrics(jobs: PluginJobs) -> Iterator[Metric]:
    """The result of the last audit; nothing before the first one."""
    found = last_audit(jobs)
    if found is None:
        return
    yield Metric(
        "fhirstore_sas_slot_audit_age_seconds",
        "Time since the last slot audit started.",
        (Sample(round(max(0.0, time.time() - found.at), 3)),),
    )
    yield Metric(
        "fhirstore_sas_slots",
        "Free slots of the next days, by whether the SAS platform sees them.",
        (Sample(found.examined - found.left_out, {"shown": "yes"}), Sample(found.left_out, {"shown": "no"})),
    )
    yield Metric(
        "fhirstore_sas_slot_faults",
        "Free slots of the next days with a fault, by rule.",
        tuple(Sample(count, {"rule": rule}) for rule, count in found.faults.items()),
    )
