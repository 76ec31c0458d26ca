"""kill -9 of the whole server under mixed load: every acknowledged write is there, no half Bundle, a sound file.

CRASHES in the environment says how often (2, or 10 in `make test-deep`).
"""

from __future__ import annotations

import random
import sqlite3
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from support.api import patient
from support.index import stray_index_rows
from support.process import Process
from support.sizes import size

CRASHES = size("CRASHES", quick=2, deep=10)


@dataclass
class Acknowledged:
    """What one writer was told is stored. versions: id -> the newest version and family acknowledged."""

    created: set[str] = field(default_factory=set)
    versions: dict[str, tuple[int, str]] = field(default_factory=dict)
    bundles: list[list[str]] = field(default_factory=list)


def write(server: Process, seed: int, stop: Event, done: Acknowledged) -> None:
    """Creates, updates one own Patient, posts Bundles of linked resources, reads; until the server is gone."""
    rng = random.Random(seed)
    mine = ""
    try:
        while not stop.is_set():
            x = rng.random()
            if not mine or x < 0.3:
                status, _, body = server.call("POST", "Patient", patient(f"F{seed}"))
                if status == 201:
                    done.created.add(mine := body["id"])
            elif x < 0.6:
                family = uuid.uuid4().hex
                status, headers, _ = server.call("PUT", f"Patient/{mine}", patient(family, id=mine))
                if status == 200:
                    done.versions[mine] = (int(headers["ETag"][3:-1]), family)
            elif x < 0.8:
                status, _, body = server.call("POST", "", bundle(rng))
                if status == 200:
                    done.bundles.append([e["response"]["location"].split("/_history")[0] for e in body["entry"]])
            else:
                server.call("GET", f"Patient/{mine}")
    except (OSError, ValueError):  # cut off by the kill
        pass


def bundle(rng: random.Random) -> dict[str, Any]:
    link, tag = f"urn:uuid:{uuid.UUID(int=rng.getrandbits(128), version=4)}", uuid.uuid4().hex
    entries: list[dict[str, Any]] = [
        {"fullUrl": link, "resource": patient(tag), "request": {"method": "POST", "url": "Patient"}}
    ]
    for _ in range(9):
        observation = {
            "resourceType": "Observation", "status": "final", "code": {"text": tag}, "subject": {"reference": link},
            "identifier": [{"system": "urn:bundle", "value": tag}],
        }  # fmt: skip
        entries.append({"resource": observation, "request": {"method": "POST", "url": "Observation"}})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def test_a_killed_server_has_lost_nothing_it_acknowledged(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    server = Process(store)
    acknowledged: list[Acknowledged] = []
    for crash in range(CRASHES):
        stop, round_ = Event(), [Acknowledged() for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            for n, done in enumerate(round_):
                pool.submit(write, server, crash * 100 + n, stop, done)
            stop.wait(1.0 + crash % 3 * 0.37)
            server.kill()
            stop.set()
        acknowledged += round_
        server.start()
        check(server, store, acknowledged)
    server.stop()
    assert sum(len(a.created) + len(a.bundles) for a in acknowledged) > 10 * CRASHES


def check(server: Process, store: Path, acknowledged: list[Acknowledged]) -> None:
    for done in acknowledged:
        for id in done.created:
            status, headers, body = server.call("GET", f"Patient/{id}")
            assert status == 200
            version, family = done.versions.get(id, (1, ""))
            found = int(headers["ETag"][3:-1])
            # One update may have been stored without its answer getting through.
            assert found in (version, version + 1)
            if family and found == version:
                assert body["name"][0]["family"] == family
        for refs in done.bundles:
            assert all(server.call("GET", ref)[0] == 200 for ref in refs)
    with sqlite3.connect(store) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    whole = count_by_bundle(server)
    assert set(whole.values()) <= {9}, "a Bundle is there in part"
    assert stray_index_rows(store) == []


def count_by_bundle(server: Process) -> dict[str, int]:
    counts: dict[str, int] = {}
    url = "Observation?_count=1000"
    while url:
        page = server.call("GET", url)[2]
        for entry in page.get("entry", []):
            tag = entry["resource"]["identifier"][0]["value"]
            counts[tag] = counts.get(tag, 0) + 1
        url = next((link["url"].split("/fhir/")[1] for link in page["link"] if link["relation"] == "next"), "")
    return counts
