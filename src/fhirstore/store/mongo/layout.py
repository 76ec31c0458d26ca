"""How resources and their index entries are stored in documents.

The current version of a resource, in the collection of its type:

====== ======================================================================================
_id    the logical id
v u m  version, updated (microseconds since 1970), method
meta   JSON members as bytes, see `Stored`
body   JSON members as bytes
keys   its unique keys, where it has any
ix     by parameter, the list of values that searches compare (below)
lo hi  by parameter, the least and the greatest sort key; without entries lo is `true` and hi is
       absent: MongoDB sorts `true` after all texts and numbers, and an absent field before them
miss   the declared parameters without entries
====== ======================================================================================

`lo` and `hi` are scalars. Sort indexes and compound indexes use them, because MongoDB refuses an index over two lists.
The values in `ix`, by kind:

========== ==========================================================================
token      texts: `code`, `system|code` or `|code`, and `system|` (see `token_forms`)
string     texts: `n` + normal, `e` + exact
date       {l: low, h: high}
number     the key
quantity   {k: key, s: system, c: code, u: unit}
reference  the target
uri        the uri
========== ==========================================================================

Replaced versions and deletions, in the collection `TYPE_history`: _id "id/version", i, v, u, d(eleted), m, meta, body.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fhirstore.model.indexing import IndexEntries, IndexEntry, ParameterKind
from fhirstore.model.stored import Change, Stored
from fhirstore.store.schema_rules import check_entries, declared_parameter, given_entries

Document = dict[str, Any]

META, KEYS, LOG, RECORDS = "meta", "keys", "log", "records"
STORE = "store"  # the document in `meta` that identifies the database
PROBE = "probe"  # the document in `meta` that `AdministrationStore.probe` writes
OWN = (META, KEYS, LOG, RECORDS)  # collections that do not belong to a type
HISTORY = "_history"
HEAD = {"v": 1, "u": 1, "m": 1, "meta": 1, "body": 1}  # the projection of a current version
OLD_HEAD = HEAD | {"i": 1, "d": 1}  # the projection of a replaced version or a deletion
NEWEST_FIRST = [("u", -1), ("_id", -1)]  # the order of the log

_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPES = str.maketrans({"\\": "\\\\", "|": "\\p"})


class MongoParameter(NamedTuple):
    """A search parameter of one type."""

    kind: ParameterKind
    single: bool
    identifying: bool = False


@dataclass(frozen=True, slots=True)
class MongoLayout:
    """The indexed parameters and compound indexes by type. stamp: identifies the schema, see `schema_stamp`."""

    stamp: str
    params: Mapping[str, Mapping[str, MongoParameter]]
    compounds: Mapping[str, Sequence[tuple[str, ...]]]

    def param(self, type: str, code: str) -> MongoParameter:
        return declared_parameter(self.params, type, code)

    def identifying(self, type: str) -> list[str]:
        """Returns the parameters of the type whose entries identify resources."""
        return [code for code, param in self.params.get(type, {}).items() if param.identifying]

    def entries(self, type: str, index: IndexEntries | None) -> Document:
        """Returns the fields ix, lo, hi and miss. Raises ValueError for entries that the schema does not allow."""
        declared = self.params.get(type, {})
        given = given_entries(index)
        ix, lo, hi = Document(), Document(), Document()
        for code, entries in given.items():
            param = self.param(type, code)
            check_entries(type, code, entries, param.single)
            name = field(code)
            ix[name] = indexed_values(param.kind, entries)
            keys = [entry[1] for entry in entries] if param.kind == "token" else [entry[0] for entry in entries]
            lo[name], hi[name] = min(keys), max(keys)
        missing = sorted(declared.keys() - given.keys())
        lo.update((field(code), True) for code in missing)
        return {"ix": ix, "lo": lo, "hi": hi, "miss": missing}


def hashed(key: str) -> str:
    """Returns the _id of a unique key or a record. It has the same length for every key."""
    return hashlib.sha256(key.encode()).hexdigest()


def record_id(kind: str, key: str) -> str:
    """The _id of a record."""
    return hashed(f"{len(kind)} {kind} {key}")


def is_type(name: str) -> bool:
    """Whether the name can be that of a resource type, and of its collection."""
    return _TYPE.fullmatch(name) is not None


def field(code: str) -> str:
    """Returns the field name of a parameter's code, without dots, dollar signs and null characters."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):x}%", code)


def indexed_values(kind: ParameterKind, entries: Sequence[IndexEntry]) -> list[Any]:
    """Returns the distinct values that `ix` holds for the entries."""
    if kind == "token":
        return list(dict.fromkeys(form for system, code in entries for form in token_forms(system, code)))
    if kind == "string":
        return list(dict.fromkeys(form for normal, exact in entries for form in (f"n{normal}", f"e{exact}")))
    distinct = dict.fromkeys(entries)
    if kind == "date":
        return [{"l": low, "h": high} for low, high in distinct]
    if kind == "quantity":
        return [{"k": key, "s": system, "c": code, "u": unit} for key, system, code, unit in distinct]
    return [entry[0] for entry in distinct]


def token_forms(system: str, code: str) -> tuple[str, str, str]:
    """Returns the values of a token in `ix`: its code, its system and code, its system. Different questions never give
    the same text: the part after a bar is never empty, and bars in a part are escaped."""
    return token_code(code), f"{token_system(system)}{token_code(code)}", token_system(system)


def token_code(code: str) -> str:
    return code.translate(_ESCAPES) or "\\e"


def token_system(system: str) -> str:
    return system.translate(_ESCAPES) + "|"


def document(change: Change, entries: Document, version: int, updated: int) -> Document:
    """Returns the document of a new current version."""
    found = {"_id": change.id, "v": version, "u": updated, "m": change.method, "meta": change.meta, "body": change.body}
    if change.unique:
        found["keys"] = list(dict.fromkeys(change.unique))
    return found | entries


def past_of(one: Stored) -> Document:
    """Returns the document of a replaced version or a deletion."""
    return {
        "_id": f"{one.id}/{one.version}", "i": one.id, "v": one.version, "u": one.updated, "d": one.deleted,
        "m": one.method, "meta": one.meta, "body": one.body,
    }  # fmt: skip


def stored(type: str, doc: Document) -> Stored:
    """Returns the current version of a document."""
    return Stored(type, doc["_id"], doc["v"], doc["u"], False, doc["m"], doc["meta"], doc["body"], doc["_id"])


def stored_past(type: str, doc: Document) -> Stored:
    """Returns the replaced version or deletion of a document."""
    return Stored(type, doc["i"], doc["v"], doc["u"], doc["d"], doc["m"], doc["meta"], doc["body"])
