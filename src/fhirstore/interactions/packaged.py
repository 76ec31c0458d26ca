"""The conformance resources of packages as resources of the store, read and searched like all others.

docs/adr/0007: they are written when a server starts, each marked with its package (meta.tag), and belong to it: clients
cannot change them. Which resources belong to packages stands in records that are written in the same commits, so what
a client stores is never taken for a package's, whatever its tags say.
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
from fhirstore.formats.compose import split
from fhirstore.interactions.context import Server
from fhirstore.interactions.owned import OWNED, read_owned
from fhirstore.interactions.terms import make_terminology
from fhirstore.interactions.update import ID
from fhirstore.interactions.write import Plan, commit, extract_index
from fhirstore.model.stored import Change, Record, Stored

TAG = "urn:fhirstore:package"
STATE = "packages"
"""One record: the digest of all that was written, when it was written completely."""

_FORM = "1"  # changes when the same packages are stored otherwise than before
_BATCH = 200

Part = tuple[Package, dict[str, Any]]


def publish(ctx: Server) -> Server:
    """Makes the store hold the conformance resources of all packages at hand whose types are served, and no others of
    packages that are gone. The context that is returned knows them all.

    A batch is one commit; what is there already is left as it is; so it may be interrupted, repeated, and done by
    several processes at once."""
    digest = _digest(ctx)
    if [r.value for r in ctx.store.records(STATE)] == [digest]:
        return _aware(ctx)
    ctx.store.commit([], (), [Record(STATE, "digest", None)])
    placed: dict[str, str] = {}
    parts = _parts(ctx)
    while batch := list(islice(parts, _BATCH)):
        _store(ctx, batch, placed)
    _remove(ctx, read_owned(ctx.store), placed)
    ctx.store.commit([], (), [Record(STATE, "digest", digest)])
    return _aware(ctx)


def _aware(ctx: Server) -> Server:
    """The context that knows what belongs to packages now."""
    owned = read_owned(ctx.store)
    terminology = make_terminology(ctx.settings, ctx.registry, ctx.store, owned)
    return replace(ctx, owned=owned, terminology=terminology, conformance=ctx.conformance.with_terminology(terminology))


def _digest(ctx: Server) -> bytes:
    packages = [(p.label, p.digest) for p in ctx.registry.catalog.packages]
    types = sorted(CONFORMANCE_TYPES & ctx.registry.types.keys())
    return blake2s(json.dumps([_FORM, packages, types]).encode()).hexdigest().encode()


def _parts(ctx: Server) -> Iterator[Part]:
    """What is to be stored: of each canonical and version the one that the catalog finds."""
    catalog = ctx.registry.catalog
    for package in catalog.packages:
        for resource in package.resources:
            kind, url = resource["resourceType"], resource.get("url")
            if kind not in ctx.registry.types:
                continue
            canonical = f"{url}|{resource['version']}" if "version" in resource else url
            if url is None or catalog.resource(kind, str(canonical)) is resource:
                yield package, resource


def _store(ctx: Server, batch: Sequence[Part], placed: dict[str, str]) -> None:
    """Stores one batch and adds to `placed` where each resource went."""
    chosen: dict[str, str] = {}

    def plan() -> list[Plan]:
        chosen.clear()
        refs = {f"{r['resourceType']}/{id}" for p, r in batch for id in _ids(p, r)}
        live = {s.ref: s for s in ctx.store.read_many(refs)}
        owned = read_owned(ctx.store)  # after what is live, so that a rival's are not taken for a client's
        plans = []
        for package, resource in batch:
            kind = resource["resourceType"]
            ids = _ids(package, resource)
            id = next((i for i in ids if _is_free(f"{kind}/{i}", live, owned, (placed, chosen))), ids[-1])
            chosen[f"{kind}/{id}"] = package.label
            plans.append(_plan(ctx, package, {**resource, "id": id}, live.get(f"{kind}/{id}"), owned))
        return plans

    commit(ctx, plan)
    placed |= chosen


def _ids(package: Package, resource: dict[str, Any]) -> list[str]:
    """The ids that a resource may get, the best first: its own, with its version, and one that nothing else has."""
    own, version = resource.get("id"), resource.get("version") or package.version
    marks = [package.label, resource["resourceType"], resource.get("url"), resource.get("version"), own]
    alone = "package-" + blake2s(json.dumps(marks, default=str).encode(), digest_size=16).hexdigest()
    return [*(i for i in (str(own), f"{own}-{version}") if own and ID.fullmatch(i)), alone]


def _is_free(
    ref: str, live: Mapping[str, Stored], owned: Mapping[str, str], taken: Sequence[Mapping[str, str]]
) -> bool:
    return not any(ref in t for t in taken) and (ref not in live or ref in owned)


def _plan(
    ctx: Server, package: Package, resource: dict[str, Any], live: Stored | None, owned: Mapping[str, str]
) -> Plan:
    kind, id = resource["resourceType"], resource["id"]
    given = resource.get("meta")
    meta = dict(given) if isinstance(given, dict) else {}
    tags = meta.get("tag")
    meta["tag"] = [*(tags if isinstance(tags, list) else ()), {"system": TAG, "code": package.label}]
    resource["meta"] = meta
    kept, body = split(resource)
    ref = f"{kind}/{id}"
    if live is not None and (live.meta, live.body, owned.get(ref)) == (kept, body, package.label):
        return Plan(200, None, live)
    current = live if live is not None else ctx.store.read(kind, id)
    index = extract_index(ctx, kind, resource)
    change = Change(kind, id, None if current is None else current.version, "PUT", kept, body, index)
    return Plan(200, change, records=(Record(OWNED, ref, package.label.encode()),))


def _remove(ctx: Server, owned: Mapping[str, str], placed: Mapping[str, str]) -> None:
    """Deletes what belongs to no package any more. What another deployment on this store serves of a package that is
    at hand here too, but on types that are not served here, stays."""
    labels = {p.label for p in ctx.registry.catalog.packages}
    served = ctx.registry.types
    gone = (r for r in owned if r not in placed and (r.partition("/")[0] in served or owned[r] not in labels))
    while batch := list(islice(gone, _BATCH)):

        def plan(refs: Sequence[str] = batch) -> list[Plan]:
            live = ctx.store.read_many(refs)
            return [Plan(204, Change(s.type, s.id, s.version, "DELETE", deleted=True)) for s in live]

        commit(ctx, plan)
        ctx.store.commit([], (), [Record(OWNED, ref, None) for ref in batch])
