"""What stands against opening a database: one line that says what to do, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import naive
import pytest
from pymongo import MongoClient
from pymongo.database import Database
from support.cli import fhirstore
from support.mongo import Replica

from fhirstore.errors import StartupError
from fhirstore.model.indexing import IndexedParameter, Schema
from fhirstore.model.stored import Change, Record
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import Unavailable
from fhirstore.store.mongo import MongoStore

Db = Database[dict[str, Any]]
MakeStore = Callable[..., MongoStore]


def wide(count: int) -> Schema:
    return Schema({"Thing": {f"p{n}": IndexedParameter(f"p{n}", "token", False, "1") for n in range(count)}})


def everything(db: Db) -> dict[str, Any]:
    """The documents and indexes of all collections."""
    return {name: (list(db[name].find()), sorted(db[name].index_information())) for name in db.list_collection_names()}


def refused(make_store: MakeStore, db: Db, match: str) -> None:
    before = everything(db)
    with pytest.raises(StartupError, match=match) as problem:
        make_store()
    assert "\n" not in str(problem.value)
    assert everything(db) == before


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """other(*options): another server than that of the other tests."""
    made: list[Replica] = []

    def make(*options: str) -> Replica:
        made.append(Replica(tmp_path / f"journal{len(made)}", *options))
        return made[-1]

    yield make
    for server in made:
        server.close()


def test_a_database_of_something_else_is_left_as_it_is(make_store: MakeStore, db: Db) -> None:
    db["customers"].insert_one({"_id": 1})

    refused(make_store, db, "customers.*Name another database")


def test_a_collection_that_is_not_ours_is_named(make_store: MakeStore, db: Db) -> None:
    make_store().commit([], records=[Record("a", "b", b"c")])
    db["customers"].insert_one({"_id": 1})

    refused(make_store, db, "customers.*Name another database")


def test_a_meta_collection_of_something_else_is_not_taken_for_ours(make_store: MakeStore, db: Db) -> None:
    db["meta"].insert_one({"_id": "x"})

    refused(make_store, db, "meta.*Name another database")


def test_a_newer_format_is_refused(make_store: MakeStore, db: Db) -> None:
    make_store()
    db["meta"].update_one({"_id": "store"}, {"$set": {"format": 2}})

    refused(make_store, db, "format 2.*Start the version that wrote it")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"capped": True, "size": 4096}, "capped"),
        ({"collation": {"locale": "fr", "strength": 1}}, "collation"),
        ({"viewOn": "Other", "pipeline": []}, "viewOn"),
    ],
    ids=["capped", "collation", "session"],
)
def test_a_collection_with_options_is_refused(
    make_store: MakeStore, db: Db, options: dict[str, Any], said: str
) -> None:
    """It would drop what is old, find other letters alike, or take no writes. The stand-in tells options, no more."""
    make_store().commit([Change("Thing", "a", None, "PUT")])
    db.command({"create": "Other", **options})

    refused(make_store, db, rf"Other is not a plain collection \({said}.*Name another database")


def test_an_index_that_conflicts_is_named(make_store: MakeStore, db: Db) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT")])
    db["Thing"].drop_index("updated")
    db["Thing"].create_index([("other", 1)], name="updated")

    refused(make_store, db, r"Thing conflicts with.*dropIndex.*other 1")


def test_an_index_of_the_same_fields_under_another_name_conflicts_too(make_store: MakeStore, db: Db) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT")])
    db["Thing"].drop_index("updated")
    db["Thing"].create_index([("u", 1), ("_id", 1)], name="mine")

    refused(make_store, db, r"conflicts with.*mine.*declared updated")


@pytest.mark.parametrize("transactions", ["auto", "on"])
def test_a_standalone_server_is_refused_with_what_to_do(other: Callable[..., Replica], transactions: str) -> None:
    """With the setting `on` nobody looks before: then the first write is refused, and nothing is stored."""
    server = other("--kind", "standalone")
    store = open_store(server.named("x"), Settings(mongo_transactions=transactions))  # type: ignore[arg-type]

    with pytest.raises(StartupError, match=r"--replSet.*rs\.initiate" if transactions == "auto" else "Transaction"):
        store.open(wide(1))

    with server.client() as client:
        assert transactions == "on" or client["x"].list_collection_names() == []


def test_a_server_that_does_not_say_that_it_is_a_replica_set_may_have_transactions(mongo: Any, tmp_path: Path) -> None:
    """mongoeco is such a one."""
    store = MongoStore(mongo.url(tmp_path))
    store.open(wide(1))

    store.commit([Change("Thing", "a", None, "PUT")])

    store.close()
    mongo.drop(tmp_path)


def test_an_old_version_is_refused(other: Callable[..., Replica]) -> None:
    server = other("--version", "5.0")

    with pytest.raises(StartupError, match=r"5\.0\.0\. fhirstore needs version 6\.0 or newer"):
        MongoStore(server.named("x")).open(wide(1))


def test_a_secondary_is_refused_with_what_to_do(other: Callable[..., Replica]) -> None:
    server = other("--kind", "secondary")

    with pytest.raises(StartupError, match="replicaSet=rs0"):
        MongoStore(server.named("x")).open(wide(1))


def test_a_replica_set_without_a_primary_is_said_in_time(other: Callable[..., Replica]) -> None:
    server = other("--kind", "secondary")
    url = f"mongodb://127.0.0.1:{server.port}/x?replicaSet=rs0&serverSelectionTimeoutMS=300"

    with pytest.raises(StartupError, match=r"no primary.*majority of its members"):
        MongoStore(url).open(wide(1))


def test_another_replica_set_is_said_in_time(other: Callable[..., Replica]) -> None:
    url = f"mongodb://127.0.0.1:{other().port}/x?replicaSet=nope&serverSelectionTimeoutMS=300"

    with pytest.raises(StartupError, match="replicaSet"):
        MongoStore(url).open(wide(1))


def test_wrong_credentials_are_said(other: Callable[..., Replica]) -> None:
    url = other().named("x").replace("//", "//user:p4ssw0rd@") + "&authMechanism=SCRAM-SHA-256"

    with pytest.raises(StartupError, match="check user, password and authSource") as problem:
        MongoStore(url).open(wide(1))

    assert "p4ssw0rd" not in str(problem.value)


def test_a_missing_right_is_said(make_store: MakeStore, fail: Callable[..., None]) -> None:
    fail("listCollections", 1, 13)

    with pytest.raises(StartupError, match="grant the user readWrite"):
        make_store()


def test_a_server_that_is_not_there_is_said_in_time() -> None:
    store = MongoStore("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200")

    with pytest.raises(StartupError, match="cannot be reached"):
        store.open(wide(1))


@pytest.mark.parametrize(
    "url", ["mongodb://", "mongodb://u:p@ss@h/x", "mongodb://h:0/x", "mongodb://h/a b", "mongodb://h/x?w=0"]
)
def test_a_wrong_url_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(StartupError, match=r"store: .*mongodb://USER:PASSWORD@HOST") as problem:
        MongoStore(url).open(wide(1))

    assert "p@ss" not in str(problem.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=200", "cannot be reached"),
        ("mongodb://h/x?w=0", "invalid MongoDB URL"),
        ("mongodb://{host}/x?directConnection=true", "holds collections of another program (customers)"),
    ],
)
def test_the_command_line_says_it_in_one_line_with_status_2(
    other: Callable[..., Replica], tmp_path: Path, url: str, said: str
) -> None:
    server = other()
    with server.client() as client:
        client["x"]["customers"].insert_one({"_id": 1})
    statement = {
        "resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1",
        "format": ["json"], "date": "2026-01-01",
        "rest": [{"mode": "server", "resource": [{"type": "Patient", "interaction": [{"code": "read"}]}]}],
    }  # fmt: skip
    (tmp_path / "small.json").write_text(json.dumps(statement))

    done = fhirstore(
        "indexes", "--capability", str(tmp_path / "small.json"),
        "--store", url.replace("{host}", f"127.0.0.1:{server.port}"),
    )  # fmt: skip

    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    with server.client() as client:
        assert client["x"].list_collection_names() == ["customers"]


def test_a_store_opened_with_another_schema_since_refuses_to_write(make_store: MakeStore) -> None:
    old = make_store(wide(3))
    make_store(wide(4))

    with pytest.raises(Unavailable, match="restart"):
        old.commit([Change("Thing", "a", None, "PUT")])


def test_opening_twice_with_the_same_schema_changes_nothing(
    make_store: MakeStore, client: MongoClient[dict[str, Any]], db: Db
) -> None:
    make_store().commit([Change("Thing", "a", None, "PUT")])
    before = everything(db)

    secret = make_store().secret()

    assert everything(db) == before
    assert len(secret) == 32


def test_of_many_that_open_a_new_database_at_once_all_can_write(url: str) -> None:
    import threading

    stores = [MongoStore(url) for _ in range(6)]
    problems: list[Exception] = []

    def use(store: MongoStore, n: int) -> None:
        try:
            store.open(naive.schema())
            store.commit([Change("Thing", f"a{n}", None, "PUT")])
        except Exception as problem:
            problems.append(problem)

    threads = [threading.Thread(target=use, args=(store, n)) for n, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert len(stores[0].history("Thing").entries) == 6
    for store in stores:
        store.close()
