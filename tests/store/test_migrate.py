"""`fhirstore migrate` from SQLite to an engine and back: killed in between, with a source that changes, with faults."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.engines import only_documented_commands  # noqa: F401
from support.mongo import Mongo, Replica
from support.sizes import DEEP

from fhirstore.cli import cli
from fhirstore.commands.migrate_copy import MAX_BATCH_VERSIONS
from fhirstore.errors import StartupError
from fhirstore.interactions.bulk import put_many
from fhirstore.interactions.write import extract_index
from fhirstore.model.indexing import Schema
from fhirstore.model.stored import Change, Record
from fhirstore.search.parse import parse
from fhirstore.server import Server, build
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.protocol import Store
from fhirstore.store.transfer import UNFINISHED

TESTS = Path(__file__).resolve().parents[1]
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": "2026-01-01",
    "kind": "instance",
    "fhirVersion": "4.0.1",
    "format": ["json"],
    "rest": [
        {
            "mode": "server",
            "resource": [
                {
                    "type": type,
                    "interaction": [{"code": code} for code in ("read", "update", "create", "search-type")],
                    "updateCreate": True,
                    "searchParam": [{"name": name, "type": kind} for name, kind in params.items()],
                }
                for type, params in {
                    "Patient": {"family": "string", "identifier": "token", "general-practitioner": "reference"},
                    "Practitioner": {"name": "string"},
                }.items()
            ],
        }
    ],
}


def migrate(source: str, target: str, *more: str) -> Result:
    return CliRunner().invoke(cli, ("migrate", "--from", source, "--to", target, "--capability", "s.json", *more))


def server(url: str) -> Server:
    return build(Settings(store=url, capability="s.json"))


def patient(rng: random.Random, n: int) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{n:03}",
        "name": [{"family": rng.choice(["Durand", "Éluard", "Le Goff"])}],
        "identifier": [{"system": "urn:x", "value": str(n)}],
        "generalPractitioner": [{"reference": f"Practitioner/d{rng.randrange(5)}"}],
    }


def fill(url: str, size: int) -> None:
    """Patients and practitioners, some changed, some deleted, some made again; unique keys and records."""
    rng, ctx = random.Random(1), server(url)
    practitioners = [{"resourceType": "Practitioner", "id": f"d{n}", "name": [{"family": f"D{n}"}]} for n in range(5)]
    resources = [*practitioners, *(patient(rng, n) for n in range(size))]
    resources += [patient(rng, rng.randrange(size)) for _ in range(size // 2)]
    assert not any(issue.is_error for _, issues in put_many(ctx, resources) for issue in issues or ())
    for n in range(0, size, 7):
        current = ctx.store.read("Patient", f"p{n:03}")
        assert current is not None
        ctx.store.commit([Change("Patient", current.id, current.version, "DELETE", deleted=True)])
    list(put_many(ctx, [patient(rng, n) for n in range(0, size, 14)]))
    for n in range(5):
        current = ctx.store.read("Practitioner", f"d{n}")
        assert current is not None
        index = extract_index(ctx, "Practitioner", practitioners[n])
        change = Change("Practitioner", f"d{n}", current.version, "PATCH", b"", current.body, index, (f"key {n}",))
        ctx.store.commit([change], records=[Record("outbox", str(n), b"to do"), Record("jobs", str(n), b"\0\xff")])
    ctx.store.close()


def contents(url: str) -> list[Any]:
    """Everything a store holds, without what is the engine's own."""
    store = open_store(url, Settings())
    assert store.exists()
    found: list[Any] = [(v.stored._replace(key=None), v.stored.key is None, sorted(v.unique)) for v in store.versions()]
    for kind in store.record_kinds():
        found += store.records(kind)
    found.append(store.secret())
    store.close()
    return found


def found(url: str, query: str) -> list[str]:
    """The ids of a search as the server would do it, page by page."""
    ctx, ids, after = server(url), [], None
    pairs = [tuple(part.split("=", 1)) for part in query.split("&")]
    asked = parse(ctx.registry, "Patient", pairs, ctx.settings, strict=True, secret=ctx.secret)  # type: ignore[arg-type]
    while True:
        page = ctx.store.find("Patient", asked.where, asked.sort, after, 7)
        ids += [one.id for one in page.entries]
        if (after := page.next) is None:
            ctx.store.close()
            return ids


QUERIES = [
    "family=durand&_sort=-identifier",
    "general-practitioner=Practitioner/d1&_sort=family",
    "general-practitioner:Practitioner.name=D2",
    "identifier=urn:x|14",
    "_sort=-_lastUpdated",
]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("FHIRSTORE_") and n != "FHIRSTORE_PYTHON313"]:
        monkeypatch.delenv(name)
    Path("s.json").write_text(json.dumps(STATEMENT))


@pytest.fixture
def target(
    engine: Callable[[Path], str], engine_name: str, mongo_server: Mongo | None, tmp_path: Path
) -> Iterator[str]:
    """The URL of a database of the engine, that does not exist yet.

    What a killed process has begun MongoDB ends after a minute (transactionLifetimeLimitSeconds), our stand-in here
    after two seconds."""
    folder = tmp_path / "target"
    folder.mkdir()
    if engine_name == "replica":
        own = Replica(tmp_path / "journal", "--lifetime-s", "2")
        yield own.url(folder)
        own.close()
        return
    yield engine(folder)
    if mongo_server is not None:
        mongo_server.drop(folder)


@pytest.fixture
def source(share: int) -> str:
    """The URL of a SQLite store with things in it."""
    url = "sqlite:///source.db"
    fill(url, 300 // share)
    return url


def test_a_store_and_its_copy_and_the_copy_of_the_copy_are_the_same(source: str, target: str) -> None:
    there = migrate(source, target)
    back = migrate(target, "sqlite:///back.db")

    assert there.exit_code == 0, there.output
    assert back.exit_code == 0, back.output
    assert contents(source) == contents(target) == contents("sqlite:///back.db")
    assert "versions copied" in there.stdout
    assert "2 types, by checksum" in there.stdout
    for query in QUERIES:
        assert found(source, query) == found(target, query) == found("sqlite:///back.db", query)


def test_the_copy_is_kept_in_order_by_what_its_source_was(source: str, target: str) -> None:
    migrate(source, target)
    ctx = server(target)
    before = ctx.store.history_count()

    for issues in [i for _, i in put_many(ctx, [patient(random.Random(2), 3)])]:
        assert not issues

    assert ctx.store.history_count() == before + 1
    newest = ctx.store.history(limit=2).entries
    assert newest[0].ref == "Patient/p003"
    assert newest[0].updated >= newest[1].updated
    ctx.store.close()


MOMENTS = [("before", 1), ("inside", 1), ("after", 1), ("before", 3), ("inside", 3), ("after", 3), ("after", 5)]
FEWER_MOMENTS = [("before", 2), ("inside", 3), ("after", 9)]


def killed(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.killed_command", *arguments, "--capability", "s.json"],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.timeout(600)
def test_a_migration_killed_at_whatever_moment_goes_on_where_it_stopped(target: str, engine_name: str) -> None:
    """On MongoDB, where each start takes seconds, all moments are tried in `make test-deep` only."""
    source = "sqlite:///source.db"
    fill(source, 160)
    stored = 0
    for moment, nth in MOMENTS if DEEP or engine_name == "sqlite" else FEWER_MOMENTS:
        killed(moment, str(nth), "migrate", "--from", source, "--to", target)
        stored += nth if moment == "after" else nth - 1
        if stored:
            with pytest.raises(StartupError, match="not finished"):
                server(target)

    done = migrate(source, target)

    assert done.exit_code == 0, done.output
    copied = int(done.stdout.split()[0])
    assert 0 < copied < len(contents(source)) / 2
    assert contents(source) == contents(target)
    for query in QUERIES:
        assert found(source, query) == found(target, query)


def test_a_migration_killed_from_outside_goes_on_where_it_stopped(tmp_path: Path) -> None:
    fill("sqlite:///source.db", 7 * MAX_BATCH_VERSIONS)
    command = [
        sys.executable, "-m", "fhirstore", "migrate",
        "--from", "sqlite:///source.db", "--to", "sqlite:///target.db", "--capability", "s.json",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while versions_in("sqlite:///target.db") == 0:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    before = versions_in("sqlite:///target.db")
    done = migrate("sqlite:///source.db", "sqlite:///target.db")

    assert done.exit_code == 0, done.output
    assert before % MAX_BATCH_VERSIONS == 0
    assert int(done.stdout.split()[0]) == versions_in("sqlite:///target.db") - before
    assert contents("sqlite:///source.db") == contents("sqlite:///target.db")


def versions_in(url: str) -> int:
    store = open_store(url, Settings())
    try:
        return store.history_count() if store.exists() else 0
    except StartupError:  # just being made
        return 0
    finally:
        store.close()


# --- a source that does not hold still, a target that is not what it was ---


def meddling(monkeypatch: pytest.MonkeyPatch, store: type[Store], after: Callable[[int], None]) -> None:
    """after(n) runs behind the nth batch that is put into the store."""
    real, count = store.restore, 0

    def restore(self: Any, *arguments: Any) -> None:
        nonlocal count
        real(self, *arguments)
        count += 1
        after(count)

    monkeypatch.setattr(store, "restore", restore)


def kind_of(url: str) -> Any:
    return type(open_store(url, Settings()))


def test_what_is_written_to_the_source_meanwhile_is_noticed_and_taken_over_by_the_next_run(
    source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(count: int) -> None:
        if count == 2:
            ctx = server(source)
            list(put_many(ctx, [patient(random.Random(3), n) for n in (1, 2, 777)]))
            ctx.store.commit([], records=[Record("outbox", "3", None), Record("outbox", "9", b"new")])
            ctx.store.close()

    with monkeypatch.context() as patched:
        meddling(patched, kind_of(target), write)
        first = migrate(source, target)
    with pytest.raises(StartupError, match="not finished"):
        server(target)
    second = migrate(source, target)

    assert first.exit_code == 1
    assert "the source changed during the migration" in first.stderr
    assert len(first.stderr.splitlines()) == 1
    assert second.exit_code == 0, second.output
    assert contents(source) == contents(target)
    for query in QUERIES:
        assert found(source, query) == found(target, query)


def test_a_record_that_the_source_deletes_after_it_was_copied_is_deleted_by_the_next_run(
    source: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kind_of(target)
    real = store.restore

    def restore(self: Any, versions: Sequence[Any], records: Sequence[Record] = ()) -> None:
        real(self, versions, records)
        if any(record.kind == "outbox" for record in records):
            ctx = server(source)
            ctx.store.commit([], records=[Record("outbox", "3", None)])
            ctx.store.close()

    with monkeypatch.context() as patched:
        patched.setattr(store, "restore", restore)
        first = migrate(source, target)
    second = migrate(source, target)

    assert first.exit_code == 1, first.output
    assert second.exit_code == 0, second.output
    assert contents(source) == contents(target)


def test_a_difference_is_named_with_its_type(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose_a_character(self: Any, versions: Sequence[Any], records: Sequence[Record] = ()) -> None:
        changed = [
            v if v.stored.ref != "Practitioner/d1" or v.stored.version != 1 else
            type(v)(v.stored._replace(body=v.stored.body.replace(b"D1", b"D")), v.at, v.unique, v.index)
            for v in versions
        ]  # fmt: skip
        real(
            self, changed, [Record(r.kind, r.key, r.value and r.value[:-1]) if r.kind == "jobs" else r for r in records]
        )

    store = kind_of(target)
    real = store.restore
    monkeypatch.setattr(store, "restore", lose_a_character)

    done = migrate(source, target)

    assert done.exit_code == 1
    lines = done.stderr.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["migrate", "the stores differ", "Practitioner"],
        ["migrate", "the stores differ", "records jobs"],
    ]
    assert "10 in the source with checksum" in lines[0]
    with pytest.raises(StartupError, match="not finished"):
        server(target)


def test_a_target_that_holds_something_is_refused_and_left_as_it_is(source: str, target: str) -> None:
    fill(target, 3)
    before = contents(target)

    done = migrate(source, target)

    assert done.exit_code == 2
    assert "already contains" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert contents(target) == before
    assert migrate(source, source).exit_code == 2


def test_an_unfinished_copy_of_another_store_is_refused(source: str, target: str) -> None:
    fill("sqlite:///another.db", 100)
    killed("after", "2", "migrate", "--from", "sqlite:///another.db", "--to", target)

    done = migrate(source, target)

    assert done.exit_code == 2
    assert "unfinished copy of another store" in done.stderr


def test_a_target_that_was_written_to_since_is_refused(source: str, target: str) -> None:
    killed("after", "2", "migrate", "--from", source, "--to", target)
    store = open_store(target, Settings())
    store.open(Schema({}))
    store.commit([Change("Patient", "strange", None, "PUT")])
    store.close()

    done = migrate(source, target)

    assert done.exit_code == 2
    assert "the target changed after the migration was interrupted" in done.stderr


def test_a_source_that_has_lost_what_was_copied_is_refused(source: str, target: str, share: int) -> None:
    Path("before.db").write_bytes(Path("source.db").read_bytes())
    ctx = server(source)
    list(put_many(ctx, [patient(random.Random(4), n) for n in range(800, 1000)]))
    ctx.store.close()
    killed("after", str(9 + 18 // share), "migrate", "--from", source, "--to", target)
    for file in Path().glob("source.db*"):
        file.unlink()
    Path("before.db").rename("source.db")

    done = migrate(source, target)

    assert done.exit_code == 2
    assert "no longer contains" in done.stderr


def test_the_state_of_a_migration_is_no_record_of_the_copy(source: str, target: str) -> None:
    migrate(source, target)

    store = open_store(target, Settings())
    assert UNFINISHED not in store.record_kinds()
    store.close()


def test_bodies_come_over_as_bytes(target: str) -> None:
    ctx = server("sqlite:///source.db")
    body = b'"active" :  true,"multipleBirthInteger":1,"x":1.50,"y":"\xc3\xa9\\u0000"'
    ctx.store.commit([Change("Patient", "a", None, "PUT", b'"tag":[ ]', body)])
    ctx.store.close()

    assert migrate("sqlite:///source.db", target).exit_code == 0
    store = open_store(target, Settings())
    [version] = store.versions()
    assert (version.stored.meta, version.stored.body) == (b'"tag":[ ]', body)
    store.close()
