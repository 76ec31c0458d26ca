"""Publishes the conformance resources of packages in the store, where they are read and searched like all others.

They are written when a server starts, with the package in meta.tag, and clients cannot change them (docs/adr/0007).
Records in the same commits note which resources belong to packages, so a resource of a client is never mistaken for one
of a package, whatever its tags are. Publication is a durable job, which one server runs at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2s
from itertools import islice
from typing import Any

from fhirstore.definitions.model import Package
from fhirstore.definitions.packages import CONFORMANCE_TYPES
from fhirstore.errors import FhirError
from fhirstore.formats.json import split
from fhirstore.interactions.package_ownership import RECORD_KIND as OWNER_RECORD
from fhirstore.interactions.package_ownership import read_package_owners
from fhirstore.interactions.server import Server
from fhirstore.interactions.stored_definitions import make_terminology
from fhirstore.interactions.update import is_id
from fhirstore.interactions.write import Plan, commit, extract_index
from fhirstore.jobs.inline import acquire, holding
from fhirstore.jobs.model import Done, Progress, QueueOptions, Rejected
from fhirstore.jobs.queue import JobQueue
from fhirstore.jobs.run import JobRun
from fhirstore.model.context import RequestContext
from fhirstore.model.stored import Change, Record, Stored

TAG = "urn:fhirstore:package"
STATE = "packages"
"""Kind of one record: the digest of a complete publication."""
QUEUE = KEY = "packages"
OPTIONS = QueueOptions(delivery="latest", lease_s=15.0, on_failure="failed")
PATIENCE_S = 30.0
"""Seconds to wait for another server that publishes. The limit is longer than the lease of a killed server."""

_FORM = "1"  # changes if the same packages are stored differently
_BATCH = 200

PackagedResource = tuple[Package, dict[str, Any]]


def publish(server: Server, patience_s: float = PATIENCE_S) -> Server:
    """Makes the store contain the conformance resources of all loaded packages whose types are served, and removes
    those of packages that are no longer loaded. Returns the server that knows them. Raises StoreError, FhirError.

    A batch is one commit, and unchanged resources are left as they are, so a publication may be interrupted, repeated,
    and done by several servers at once: after `patience_s` seconds, this one does not wait for another any longer."""
    digest = _digest(server)
    if _is_published(server, digest):
        return _with_ownership(server)
    labels = [package.label for package in server.registry.catalog.packages]
    run = acquire(JobQueue(server.store, QUEUE, OPTIONS), KEY, {"packages": labels}, patience_s=patience_s)
    if run is not None:
        with holding(run):
            try:
                number = 0 if _is_published(server, digest) else _publish(server, digest, run)
            except FhirError as problem:
                run.store(Rejected(str(problem)))
                raise
            run.store(Done({"resources": number}))
    elif not _is_published(server, digest):
        _publish(server, digest)
    return _with_ownership(server)


def _is_published(server: Server, digest: bytes) -> bool:
    return [record.value for record in server.store.records(STATE)] == [digest]


def _publish(server: Server, digest: bytes, run: JobRun | None = None) -> int:
    """The number of resources that packages have."""
    server.store.commit([], (), [Record(STATE, "digest", None)])
    placed: dict[str, str] = {}
    resources = _resources(server)
    while batch := list(islice(resources, _BATCH)):
        _store(server, batch, placed)
        if run is not None:
            run.progress = Progress(len(placed), None, "resources")
    _remove(server, read_package_owners(server.store), placed)
    server.store.commit([], (), [Record(STATE, "digest", digest)])
    return len(placed)


def _with_ownership(server: Server) -> Server:
    """The server that knows which resources belong to packages now."""
    owned = read_package_owners(server.store)
    terminology = make_terminology(server.settings, server.registry, server.store, owned)
    validator = server.validator.with_terminology(terminology)
    return replace(server, package_owners=owned, terminology=terminology, validator=validator)


def _digest(server: Server) -> bytes:
    packages = [(p.label, p.digest) for p in server.registry.catalog.packages]
    types = sorted(CONFORMANCE_TYPES & server.registry.types.keys())
    return blake2s(json.dumps([_FORM, packages, types]).encode()).hexdigest().encode()


def _resources(server: Server) -> Iterator[PackagedResource]:
    """The resources to store: for each canonical and version, the one that the catalog finds."""
    catalog = server.registry.catalog
    for package in catalog.packages:
        for resource in package.resources:
            kind, url = resource["resourceType"], resource.get("url")
            if kind not in server.registry.types:
                continue
            canonical = f"{url}|{resource['version']}" if "version" in resource else url
            if url is None or catalog.resource(kind, str(canonical)) is resource:
                yield package, resource


def _store(server: Server, batch: Sequence[PackagedResource], placed: dict[str, str]) -> None:
    """Stores one batch and adds the references and packages to `placed`."""
    chosen: dict[str, str] = {}

    def plan() -> list[Plan]:
        chosen.clear()
        refs = {f"{r['resourceType']}/{id}" for p, r in batch for id in _ids(p, r)}
        live = {s.ref: s for s in server.store.read_many(refs)}
        owned = read_package_owners(
            server.store
        )  # read after the live resources, so that those of another server are not mistaken for a client's
        plans = []
        for package, resource in batch:
            kind = resource["resourceType"]
            ids = _ids(package, resource)
            id = next((i for i in ids if _is_free(f"{kind}/{i}", live, owned, (placed, chosen))), ids[-1])
            chosen[f"{kind}/{id}"] = package.label
            plans.append(_plan(server, package, {**resource, "id": id}, live.get(f"{kind}/{id}"), owned))
        return plans

    commit(server, RequestContext(), plan)
    placed |= chosen


def _ids(package: Package, resource: dict[str, Any]) -> list[str]:
    """The ids that a resource may get, in order of preference: its own, one with its version, and a unique one."""
    own, version = resource.get("id"), resource.get("version") or package.version
    parts = [package.label, resource["resourceType"], resource.get("url"), resource.get("version"), own]
    unique = "package-" + blake2s(json.dumps(parts, default=str).encode(), digest_size=16).hexdigest()
    return [*(i for i in (str(own), f"{own}-{version}") if own and is_id(i)), unique]


def _is_free(
    ref: str, live: Mapping[str, Stored], owned: Mapping[str, str], taken: Sequence[Mapping[str, str]]
) -> bool:
    return not any(ref in t for t in taken) and (ref not in live or ref in owned)


def _plan(
    server: Server, package: Package, resource: dict[str, Any], live: Stored | None, owned: Mapping[str, str]
) -> Plan:
    kind, id = resource["resourceType"], resource["id"]
    own = resource.get("meta")
    meta = dict(own) if isinstance(own, dict) else {}
    tags = meta.get("tag")
    meta["tag"] = [*(tags if isinstance(tags, list) else ()), {"system": TAG, "code": package.label}]
    resource["meta"] = meta
    kept, body = split(resource)
    ref = f"{kind}/{id}"
    if live is not None and (live.meta, live.body, owned.get(ref)) == (kept, body, package.label):
        return Plan(200, None, live)
    current = live if live is not None else server.store.read(kind, id)
    index = extract_index(server, kind, resource)
    change = Change(kind, id, None if current is None else current.version, "PUT", kept, body, index)
    return Plan(200, change, records=(Record(OWNER_RECORD, ref, package.label.encode()),))


def _remove(server: Server, owned: Mapping[str, str], placed: Mapping[str, str]) -> None:
    """Deletes resources that belong to no package any more. Resources of a loaded package on types that are not served
    stay: another deployment on this store may serve them."""
    labels = {p.label for p in server.registry.catalog.packages}
    served = server.registry.types
    gone = (r for r in owned if r not in placed and (r.partition("/")[0] in served or owned[r] not in labels))
    while batch := list(islice(gone, _BATCH)):

        def plan(refs: Sequence[str] = batch) -> list[Plan]:
            live = server.store.read_many(refs)
            return [Plan(204, Change(s.type, s.id, s.version, "DELETE", deleted=True)) for s in live]

        commit(server, RequestContext(), plan)
        server.store.commit([], (), [Record(OWNER_RECORD, ref, None) for ref in batch])
