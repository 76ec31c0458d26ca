"""The rights that docs/mongodb.md grants are those that the MongoDB engine needs.

Stand-ins know no users: what the engine sends is compared with the table. In every contract test each command must be
in it (see the fixture `only_documented_commands` of support/engines.py); here all of the table must be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import naive
import pytest
from support.engines import only_documented_commands  # noqa: F401
from support.mongo import SERVERS
from support.rights import Commands, documented, granted

from fhirstore.model.conditions import Chain, Token
from fhirstore.model.stored import Change, Guard, Record
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import GuardChanged
from fhirstore.store.protocol import Store


def test_the_roles_grant_what_the_commands_need_and_no_more() -> None:
    needed = frozenset[str]().union(*documented().values())
    server, indexes = granted()["fhirstoreServer"], granted()["fhirstoreIndexes"]

    assert server | indexes == needed
    assert server & indexes == frozenset()
    assert indexes == {"dropIndex", "collStats", "indexStats"}


def use(store: Store, other: Store) -> None:
    """Every call of the protocol, on its way through every command."""
    things = [Change("Thing", f"i{n:04}", None, "PUT", index={"tok": [("s", "x")]}) for n in range(1100)]
    store.commit(things[:600], records=[Record("r", "1", b"x")])
    store.commit(things[600:])
    where = Token("tok", "s", "x")
    with pytest.raises(GuardChanged):
        store.commit([], [Guard("Thing", where, frozenset())])
    store.commit([Change("Thing", "i0000", 1, "PUT", unique=("k",))], records=[Record("r", "1", None)])
    store.commit([Change("Thing", "i0000", 2, "DELETE", deleted=True)])
    store.commit([Change("Thing", "i0000", 3, "PUT")])
    with store.snapshot():
        store.find("Thing", where, [naive.Sort("tok")], limit=2)
        store.find("Thing", Chain("ref", "Thing", where))
        store.references(store.find("Thing", where, limit=2).entries, "ref")
    assert store.count("Thing", where) == 1099
    assert len(store.find("Thing", where).entries) == 1099  # more than one batch
    store.history("Thing", limit=3)
    store.history("Thing", "i0000")
    store.history_count()
    store.records("r")
    store.read_many(["Thing/i0001"])
    list(store.scan())
    store.pending_parameters()
    store.reindex(lambda stored: {})
    store.probe()
    other.restore([*other.versions()], [Record("r", "1", b"x")])
    other.record_kinds()
    other.set_secret(store.secret())
    if hasattr(store, "indexes"):
        store.indexes()


@pytest.mark.parametrize("engine_name", SERVERS, indirect=True)
def test_every_right_is_needed(engine: Callable[[Path], str], tmp_path: Path, commands: Commands) -> None:
    urls = [engine(tmp_path / name) for name in ("one", "other")]
    with commands.heard() as heard:
        stores = [open_store(url, Settings()) for url in urls]
        stores[0].exists()
        for store in stores:
            store.open(naive.schema())
        use(stores[0], stores[1])
        for store in stores:
            store.close()
        again = open_store(urls[0], Settings())
        again.open(naive.schema("2", types=("Thing",), compounds=()))
        again.reindex(lambda stored: {"tok": [("s", "y")]})
        if hasattr(again, "drop_unused_indexes"):
            assert again.drop_unused_indexes()
        again.close()

    databases = {database for _, database in heard}
    # What is asked of servers that are too old, and what cursors need that are not read to their end, needs no right.
    assert {name for name, _ in heard} >= documented().keys() - {"buildInfo", "killCursors"}
    assert databases - {"admin"} == {url.split("?")[0].rsplit("/", 1)[1] for url in urls}
    assert {name for name, database in heard if database == "admin"} <= {
        "hello", "buildInfo", "endSessions", "commitTransaction", "abortTransaction",
    }  # fmt: skip
