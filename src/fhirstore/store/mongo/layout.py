"""How resources and their index entries lie in documents.

The current version of a resource, in the collection of its type:

====== ======================================================================================
_id    the logical id
v u m  version, updated (microseconds since 1970), method
meta   JSON members as bytes, see `Stored`
body   JSON members as bytes
keys   its unique keys, where it has any
ix     by parameter, a list of what its entries are found by (below)
lo hi  by parameter, the least and the greatest sort key; without entries lo is `true` and hi is
       absent: MongoDB sorts the one behind all texts and numbers, the other before them
miss   the declared parameters without entries
====== ======================================================================================

`lo` and `hi` are scalars: sort indexes and compound indexes are made of them, for MongoDB refuses an index over two
lists. In `ix` stand, by kind:

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

Document = dict[str, Any]

META, KEYS, LOG, RECORDS = "meta", "keys", "log", "records"
STORE = "store"  # the document in `meta` that says whose database it is
OWN = (META, KEYS, LOG, RECORDS)  # collections that belong to no type
HISTORY = "_history"
HEAD = {"v": 1, "u": 1, "m": 1, "meta": 1, "body": 1}

_TYPE = re.compile(r"[A-Z][A-Za-z0-9]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_ESCAPES = str.maketrans({"\\": "\\\\", "|": "\\p"})


class Param(NamedTuple):
    """A search parameter of one type."""

    kind: ParameterKind
    single: bool
    identifying: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything indexed, by type. stamp identifies the schema it was made from."""

    stamp: str
    params: Mapping[str, Mapping[str, Param]]
    compounds: Mapping[str, Sequence[tuple[str, ...]]]

    def param(self, type: str, code: str) -> Param:
        try:
            return self.params[type][code]
        except KeyError:
            raise ValueError(f"{type} has no indexed parameter {code!r}") from None

    def identifying(self, type: str) -> list[str]:
        """The parameters of the type whose entries identify resources."""
        return [code for code, param in self.params.get(type, {}).items() if param.identifying]

    def entries(self, type: str, index: IndexEntries | None) -> Document:
        """The fields ix, lo, hi and miss. Raises ValueError for entries the schema does not allow."""
        declared = self.params.get(type, {})
        given = {code: entries for code, entries in (index or {}).items() if entries}
        ix, lo, hi = Document(), Document(), Document()
        for code, entries in given.items():
            param = self.param(type, code)
            if param.single and len(entries) > 1 and len(set(entries)) > 1:
                raise ValueError(f"{type}.{code} is declared single but has {len(entries)} entries")
            name = field(code)
            ix[name] = placed(param.kind, entries)
            keys = [entry[1] for entry in entries] if param.kind == "token" else [entry[0] for entry in entries]
            lo[name], hi[name] = min(keys), max(keys)
        missing = sorted(declared.keys() - given.keys())
        lo.update((field(code), True) for code in missing)
        return {"ix": ix, "lo": lo, "hi": hi, "miss": missing}


def hashed(key: str) -> str:
    """The _id of a unique key or a record: as long as others, whatever its length."""
    return hashlib.sha256(key.encode()).hexdigest()


def record_id(kind: str, key: str) -> str:
    """The _id of a record."""
    return hashed(f"{len(kind)} {kind} {key}")


def is_type(name: str) -> bool:
    """Whether the name can be that of a resource type, and so of a collection of resources."""
    return _TYPE.fullmatch(name) is not None


def field(code: str) -> str:
    """A parameter's code as the name of a field: without dots, dollar signs and null bytes."""
    return _UNSAFE.sub(lambda found: f"%{ord(found[0]):x}%", code)


def placed(kind: ParameterKind, entries: Sequence[IndexEntry]) -> list[Any]:
    """What stands in `ix` for the entries, each thing once."""
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
    """What a token is found by: its code, its system and code, its system. No two different questions are one text:
    what is behind a bar is never empty, and bars inside are escaped."""
    return token_code(code), f"{token_system(system)}{token_code(code)}", token_system(system)


def token_code(code: str) -> str:
    return code.translate(_ESCAPES) or "\\e"


def token_system(system: str) -> str:
    return system.translate(_ESCAPES) + "|"


def document(change: Change, entries: Document, version: int, updated: int) -> Document:
    """The document of a new current version."""
    made = {"_id": change.id, "v": version, "u": updated, "m": change.method, "meta": change.meta, "body": change.body}
    if change.unique:
        made["keys"] = list(dict.fromkeys(change.unique))
    return made | entries


def past(id: str, version: int, updated: int, deleted: bool, method: str, meta: bytes, body: bytes) -> Document:
    """The document of a replaced version or a deletion."""
    return {
        "_id": f"{id}/{version}", "i": id, "v": version, "u": updated, "d": deleted,
        "m": method, "meta": meta, "body": body,
    }  # fmt: skip


def stored(type: str, doc: Document) -> Stored:
    """The row of a current version."""
    return Stored(type, doc["_id"], doc["v"], doc["u"], False, doc["m"], doc["meta"], doc["body"], doc["_id"])


def stored_past(type: str, doc: Document) -> Stored:
    """The row of a replaced version or a deletion."""
    return Stored(type, doc["i"], doc["v"], doc["u"], doc["d"], doc["m"], doc["meta"], doc["body"])
