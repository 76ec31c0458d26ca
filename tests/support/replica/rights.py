"""What a user must be granted for a command, by MongoDB's manual (Privilege Actions, and the page of each command):
written apart from docs/mongodb.md, whose roles tests have enforced here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from support.replica.values import Refused

ONES_OWN = frozenset(
    ("hello", "ismaster", "isMaster", "ping", "buildInfo", "saslStart", "endSessions", "getMore", "killCursors",
     "commitTransaction", "abortTransaction")
)  # fmt: skip
"""What everybody may do, with sessions, cursors and transactions of their own."""
SIMPLE = {
    "find": "find",
    "count": "find",
    "insert": "insert",
    "delete": "remove",
    "create": "createCollection",
    "createIndexes": "createIndex",
    "dropIndexes": "dropIndex",
    "listCollections": "listCollections",
    "listIndexes": "listIndexes",
    "collStats": "collStats",
}
_STAGES = {"$indexStats": "indexStats", "$collStats": "collStats"}


def needed(body: Mapping[str, Any]) -> set[str]:
    """The actions. What is not known here needs one that nobody has."""
    name = next(iter(body))
    if name in ONES_OWN:
        return set()
    if name == "update":
        return {"update"} | {"insert" for one in body["updates"] if one.get("upsert")}
    if name == "findAndModify":
        changes = {"remove"} if body.get("remove") else {"update"} | ({"insert"} if body.get("upsert") else set())
        return {"find"} | changes
    if name == "aggregate":
        return {_STAGES.get(next(iter(body["pipeline"][0])), "find")} if body["pipeline"] else {"find"}
    return {SIMPLE.get(name, f"the action of {name}")}


class Grant:
    """What the user of one application may do. text: "APPLICATION:DATABASE:action,action"; no database = any."""

    def __init__(self, text: str):
        self.application, self._database, actions = text.split(":")
        self._actions = set(actions.split(","))

    def check(self, body: Mapping[str, Any]) -> None:
        """Raises Refused (13)."""
        wanted = needed(body)
        is_here = self._database in ("", body.get("$db"))
        if wanted and not (is_here and wanted <= self._actions):
            text = f"not authorized on {body.get('$db')} to execute command {{ {next(iter(body))}: ... }}"
            raise Refused(13, f"{text} ({', '.join(sorted(wanted))})")
