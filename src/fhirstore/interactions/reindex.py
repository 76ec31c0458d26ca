"""The job that computes index entries for search parameters that are new or have changed, while serving."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2s

from fhirstore.formats.json import compose, parse
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import extract_index
from fhirstore.jobs.handler import JobHandler
from fhirstore.jobs.model import Done, Outcome, Progress, QueueOptions, Retry
from fhirstore.jobs.run import JobRun
from fhirstore.model.indexing import IndexEntry
from fhirstore.model.stored import Stored

QUEUE = KEY = "reindex"
OPTIONS = QueueOptions(delivery="latest", lease_s=15.0, on_failure="failed")
UNLIMITED_NESTING = 1 << 30
"""Stored resources are indexed whatever the limit for requests is now."""
_OTHER_SCHEMA_S = 60.0


def reindex_handler(server: Server) -> JobHandler:
    """Continues the reindexing that a command has not finished, on servers with the same search parameters."""

    def run(job: JobRun) -> Outcome:
        if job.payload != payload_for(server):
            return Retry("This server has other search parameters.", wait_s=_OTHER_SCHEMA_S)
        return Done({"resources": reindex(server, job)})

    return JobHandler(QUEUE, run, OPTIONS, "Index entries for new search parameters")


def payload_for(server: Server) -> dict[str, str]:
    """Identifies the search parameters of a server: engines must not mix the entries of two schemas."""
    types = {
        name: sorted((code, one.digest) for code, one in params.items())
        for name, params in server.registry.indexed_types.items()
    }
    return {"schema": blake2s(json.dumps(types, sort_keys=True).encode(), digest_size=16).hexdigest()}


def reindex(server: Server, job: JobRun, show: Callable[[int, int], None] = lambda done, total: None) -> int:
    """Computes the pending entries; returns how many resources were indexed by all runs of the job. show: called with
    done and total. Raises StoreError, JobInterrupted."""
    before = int((job.state or {}).get("resources", 0))

    def entries(stored: Stored) -> Mapping[str, Sequence[IndexEntry]]:
        return extract_index(server, stored.type, parse(compose(stored), UNLIMITED_NESTING))

    def progress(done: int, total: int) -> None:
        job.checkpoint({"resources": before + done}, Progress(before + done, before + total, "resources"))
        show(before + done, before + total)

    return before + server.store.reindex(entries, progress)
