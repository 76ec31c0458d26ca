"""The conformance resources of packages in the store: docs/adr/0007."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, issue
from support.packages import BASE, parameter, profile, served, statement, tgz

from fhirstore.formats.json import compose
from fhirstore.http.app import make_app
from fhirstore.interactions.packaged import KEY, OPTIONS, QUEUE, TAG, publish
from fhirstore.jobs.queue import JobQueue, job_id
from fhirstore.jobs.summary import find_job
from fhirstore.packages.add import StartResult, add
from fhirstore.packages.folder import PackageFolder
from fhirstore.server import build
from fhirstore.settings import Settings
from fhirstore.store.protocol import Store

CORE = "http://hl7.org/fhir/SearchParameter/"
TYPES = (
    served("Patient"),
    served(
        "StructureDefinition",
        *(
            (c, f"{CORE}conformance-{c}", t)
            for c, t in (("url", "uri"), ("version", "token"), ("name", "string"), ("status", "token"))
        ),
        ("_tag", f"{CORE}Resource-tag", "token"),
        conditionalDelete="multiple",
        conditionalUpdate=True,
    ),
    served("SearchParameter", ("url", f"{CORE}conformance-url", "uri")),
)
PROFILE = f"{BASE}/StructureDefinition/named-patient"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    own = tmp_path / "own.json"
    own.write_text(json.dumps(statement("own", *TYPES)))
    return Settings(store=f"sqlite:///{tmp_path}/x.db", package_folder=str(tmp_path / "packages"), capability=str(own))


def install(settings: Settings, name: str, version: str, *resources: dict[str, Any]) -> None:
    file = tgz(Path(settings.package_folder).with_name("x.tgz"), name, version, *resources)
    add(settings, [str(file)], lambda before, new: StartResult(), force=True)


def remove(settings: Settings, label: str) -> None:
    folder = PackageFolder(settings.package_folder)
    with folder.changing():
        folder.remove(next(e for e in folder.entries() if e.label == label))


@pytest.fixture
def start(settings: Settings) -> Iterator[Any]:
    """start(): a server that starts now on the store."""
    opened: list[Store] = []

    def start(changed: Settings = settings) -> Api:
        ctx = publish(build(changed))
        opened.append(ctx.store)
        return Api(make_app(ctx), ctx)

    yield start
    for store in opened:
        store.close()


def bodies(api: Api) -> dict[str, bytes]:
    return {s.ref: compose(s) for s in api.ctx.store.scan()}


def test_they_are_read_by_id_and_found_by_url_version_name_and_package(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    api = start()
    read = api.get("StructureDefinition/named-patient").get_json()
    assert read["meta"].pop("versionId") == "1"
    assert read["meta"].pop("lastUpdated")
    assert read == profile() | {"meta": {"tag": [{"system": TAG, "code": "test.a#1.0.0"}]}}
    for query in (f"url={PROFILE}", "version=1.0.0", "name=named", f"_tag={TAG}|test.a%231.0.0", "_id=named-patient"):
        assert api.ids(f"StructureDefinition?{query}") == ["named-patient"], query
    assert api.ids(f"SearchParameter?url={BASE}/SearchParameter/shoe-size") == ["shoe-size"]


def test_what_a_resource_says_itself_is_kept_to_the_digit(settings: Settings, start: Any, tmp_path: Path) -> None:
    sent = profile(meta={"tag": [{"code": "own"}], "profile": ["http://x.org/p"]}, description="é \u2028")
    install(settings, "test.a", "1.0.0", sent)
    read = start().get("StructureDefinition/named-patient").get_json()
    assert read["meta"]["tag"] == [{"code": "own"}, {"system": TAG, "code": "test.a#1.0.0"}]
    assert read["meta"]["profile"] == ["http://x.org/p"]
    assert read["description"] == sent["description"]


def test_starting_again_changes_nothing(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    before = bodies(start())
    assert bodies(start()) == before


def test_a_client_cannot_change_them(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile())
    api = start()
    before = bodies(api)
    own = profile(description="mine")
    answers = [
        api.put("StructureDefinition/named-patient", own),
        api.put(f"StructureDefinition?url={PROFILE}", own),
        api.delete("StructureDefinition/named-patient"),
        api.delete(f"StructureDefinition?url={PROFILE}"),
    ]
    for answer in answers:
        assert answer.status_code == 403, answer.text
        assert issue(answer)["code"] == "forbidden"
        assert "belongs to the package test.a 1.0.0 and is read-only" in issue(answer)["diagnostics"]
        assert issue(answer)["expression"] == ["StructureDefinition"]
    assert bodies(api) == before


@pytest.mark.parametrize("kind", ["batch", "transaction"])
def test_a_bundle_cannot_change_them_either(settings: Settings, start: Any, kind: str) -> None:
    install(settings, "test.a", "1.0.0", profile())
    api = start()
    request = {"method": "PUT", "url": "StructureDefinition/named-patient"}
    entry = {"resource": profile(description="mine"), "request": request}
    answer = api.post("", {"resourceType": "Bundle", "type": kind, "entry": [entry]})
    assert (403 if kind == "transaction" else 200) == answer.status_code, answer.text
    assert "Bundle.entry[0]" in answer.text
    assert "is read-only" in answer.text
    assert api.get("StructureDefinition/named-patient").get_json()["meta"]["versionId"] == "1"


def test_a_client_may_store_the_same_canonical_under_another_id(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile())
    api = start()
    assert api.put("StructureDefinition/mine", profile("mine", url=PROFILE)).status_code == 201
    assert api.ids(f"StructureDefinition?url={PROFILE}") == ["mine", "named-patient"]


def test_what_a_client_stored_before_stays_and_the_package_gets_another_id(settings: Settings, start: Any) -> None:
    tagged = profile(description="mine", meta={"tag": [{"system": TAG, "code": "test.a#1.0.0"}]})
    assert start().put("StructureDefinition/named-patient", tagged).status_code == 201
    install(settings, "test.a", "1.0.0", profile())
    api = start()
    assert api.get("StructureDefinition/named-patient").get_json()["description"] == "mine"
    assert api.ids(f"StructureDefinition?url={PROFILE}") == ["named-patient", "named-patient-1.0.0"]
    assert api.put("StructureDefinition/named-patient", tagged | {"description": "still"}).status_code == 200
    assert api.put("StructureDefinition/named-patient-1.0.0", profile("named-patient-1.0.0")).status_code == 403


def test_of_several_versions_the_latest_has_the_plain_id(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile())
    assert start().ids("StructureDefinition?version=1.0.0") == ["named-patient"]
    install(settings, "test.a", "1.1.0", profile(version="1.1.0"))
    api = start()
    assert api.ids("StructureDefinition?version=1.1.0") == ["named-patient"]
    assert api.ids("StructureDefinition?version=1.0.0") == ["named-patient-1.0.0"]
    remove(settings, "test.a#1.1.0")
    api = start()
    assert api.ids(f"StructureDefinition?url={PROFILE}") == ["named-patient"]
    assert api.get("StructureDefinition/named-patient").get_json()["version"] == "1.0.0"
    assert api.get("StructureDefinition/named-patient-1.0.0").status_code == 410


def test_two_packages_with_one_id_both_have_their_resource(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile())
    install(settings, "test.b", "1.0.0", profile(url=f"{BASE}/b"))
    install(settings, "test.c", "1.0.0", profile(url=f"{BASE}/c"))
    api = start()
    assert api.ids(f"StructureDefinition?url={PROFILE}") == ["named-patient"]
    assert api.ids(f"StructureDefinition?url={BASE}/b") == ["named-patient-1.0.0"]
    assert api.ids(f"StructureDefinition?url={BASE}/c")[0].startswith("package-")


@pytest.mark.parametrize("id", [None, "x" * 65, "a/b", ""])
def test_a_resource_without_a_sound_id_gets_one(settings: Settings, start: Any, id: str | None) -> None:
    resource = profile()
    resource["id"] = id
    (Path(settings.package_folder) / "test.a#1.0.0").mkdir(parents=True)
    for name, content in (("package.json", {"name": "test.a", "version": "1.0.0"}), ("p.json", resource)):
        (Path(settings.package_folder) / "test.a#1.0.0" / name).write_text(json.dumps(content))
    (found,) = start().ids(f"StructureDefinition?url={PROFILE}")
    assert found.startswith("package-")


def test_a_removed_package_leaves_the_store_and_its_ids_are_free(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    start()
    remove(settings, "test.a#1.0.0")
    api = start()
    assert bodies(api) == {}
    assert api.get("StructureDefinition/named-patient").status_code == 410
    assert api.put("StructureDefinition/named-patient", profile()).status_code == 201


def test_types_that_are_not_served_are_left_out_until_they_are(settings: Settings, start: Any, tmp_path: Path) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    small = tmp_path / "small.json"
    small.write_text(json.dumps(statement("small", TYPES[1])))
    assert list(bodies(start(replace(settings, capability=str(small))))) == ["StructureDefinition/named-patient"]
    assert set(bodies(start())) == {"StructureDefinition/named-patient", "SearchParameter/shoe-size"}
    assert set(bodies(start(replace(settings, capability=str(small))))) == set(bodies(start()))


class _Breaks:
    """A store whose commits of resources fail after some."""

    def __init__(self, store: Store, commits: int):
        self._store, self._left = store, commits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, changes: Any, guards: Any = (), records: Any = ()) -> Any:
        if changes:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
        return self._store.commit(changes, guards, records)


def test_what_was_interrupted_is_completed_at_the_next_start(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirstore.interactions.packaged._BATCH", 2)
    install(settings, "test.a", "1.0.0", *(profile(f"p{n}") for n in range(5)))
    wanted = [f"p{n}" for n in range(5)]
    ctx = build(settings)
    with closing(ctx.store), pytest.raises(KeyboardInterrupt):
        publish(replace(ctx, store=_Breaks(ctx.store, 1)))  # type: ignore[arg-type]
    api = start()
    assert api.ids("StructureDefinition?_sort=_id") == wanted
    assert api.put("StructureDefinition/p4", profile("p4")).status_code == 403
    assert {json.loads(b)["meta"]["versionId"] for b in bodies(api).values()} == {"1"}


def test_an_interrupted_change_that_is_taken_back_leaves_what_was_before(
    settings: Settings, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fhirstore.interactions.packaged._BATCH", 2)
    install(settings, "test.a", "1.0.0", profile())
    start()
    install(settings, "test.b", "1.0.0", *(profile(f"p{n}") for n in range(5)))
    ctx = build(settings)
    with closing(ctx.store), pytest.raises(KeyboardInterrupt):
        publish(replace(ctx, store=_Breaks(ctx.store, 1)))  # type: ignore[arg-type]
    remove(settings, "test.b#1.0.0")
    assert list(bodies(start())) == ["StructureDefinition/named-patient"]


def test_a_rival_that_starts_at_the_same_time_does_no_harm(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    rival = build(settings)

    class Overtaken(_Breaks):
        def commit(self, changes: Any, guards: Any = (), records: Any = ()) -> Any:
            if changes and self._left > 0:
                self._left = 0
                publish(rival, patience_s=0)  # which does not wait for the other
            return self._store.commit(changes, guards, records)

    ctx = build(settings)
    with closing(ctx.store), closing(rival.store):
        api = publish(replace(ctx, store=Overtaken(ctx.store, 1)))  # type: ignore[arg-type]
        assert set(api.package_owners) == {"StructureDefinition/named-patient", "SearchParameter/shoe-size"}
    stored = bodies(start())
    assert set(stored) == set(api.package_owners)
    assert {json.loads(b)["meta"]["versionId"] for b in stored.values()} == {"1"}


def test_the_publication_is_a_job_that_a_later_start_takes_over(settings: Settings, start: Any) -> None:
    install(settings, "test.a", "1.0.0", profile(), parameter())
    ctx = build(settings)
    killed = JobQueue(ctx.store, QUEUE, OPTIONS, lambda: time.time() - 1000)
    killed.submit(KEY)
    assert killed.claim(job_id(KEY)) is not None
    ctx.store.close()
    api = start()
    found = find_job(api.ctx.store, QUEUE, job_id(KEY))
    assert found is not None
    assert (found.state, found.attempts, found.result) == ("done", 2, {"resources": 2})
    assert len(bodies(api)) == 2
