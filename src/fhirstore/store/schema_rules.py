"""Rules about schemas that all engines share: compound indexes, digests, and which parameters are pending."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from fhirstore.errors import StartupError
from fhirstore.model.indexing import IndexedParameter, IndexEntries, IndexEntry, Schema

P = TypeVar("P")
SCHEMA_CHANGED = "another process has opened the store with other search parameters; restart this process"


class RecordedParameter(NamedTuple):
    """A parameter as an earlier `open` recorded it.

    digest: see `parameter_digest`. dropped: the position in the engine's log since which the schema has not declared
    the parameter, None if the last schema declared it."""

    digest: str
    pending: bool
    dropped: int | None


def check_compounds(schema: Schema) -> None:
    """Raises StartupError for a compound index that is not possible."""
    for compound in schema.compounds:
        declared = schema.types.get(compound.type, {})
        named = f"compound index {compound.type}({', '.join(compound.params)})"
        if not 2 <= len(compound.params) <= 4:
            raise StartupError(f"{named}: a compound index has 2 to 4 parameters")
        for code in compound.params:
            if code not in declared:
                raise StartupError(f"{named}: the capability statement declares no parameter {code!r} for this type")
            if not declared[code].single:
                raise StartupError(f"{named}: {code!r} can have several values; use single-valued parameters")


def parameter_digest(parameter: IndexedParameter) -> str:
    """Returns a text that changes if the index entries of the parameter change."""
    return f"{parameter.kind} {parameter.single} {parameter.digest}"


def schema_stamp(schema: Schema) -> str:
    """Returns a digest of the schema that does not depend on the order of its declarations."""
    compounds: dict[str, list[tuple[str, ...]]] = {}
    for compound in sorted(set(schema.compounds), key=lambda one: (one.type, one.params)):
        compounds.setdefault(compound.type, []).append(compound.params)
    digests = {
        type: [[code, parameter_digest(parameters[code])] for code in sorted(parameters)]
        for type, parameters in schema.types.items()
    }
    return hashlib.sha256(json.dumps([digests, compounds], sort_keys=True).encode()).hexdigest()


def is_stale(recorded: RecordedParameter | None, digest: str, written_since: Callable[[int], bool]) -> bool:
    """Whether the stored index entries of a declared parameter may be wrong.

    written_since(position): whether resources of the type were written after that position of the log."""
    if recorded is None or recorded.pending or recorded.digest != digest:
        return True
    return recorded.dropped is not None and written_since(recorded.dropped)


def record_parameters(
    declared: Mapping[str, IndexedParameter],
    recorded: Mapping[str, RecordedParameter],
    position: int,
    live: Callable[[], bool],
    written_since: Callable[[int], bool],
) -> dict[str, RecordedParameter]:
    """Returns the parameters of one type, by code, as `open` records them.

    position: the end of the log. live: whether the type has live resources. written_since: see `is_stale`. If a
    parameter is pending now and was recorded otherwise, reindexing of the type starts again."""
    found: dict[str, RecordedParameter] = {}
    for code in sorted(recorded.keys() | declared.keys()):
        before = recorded.get(code)
        if code in declared:
            digest = parameter_digest(declared[code])
            found[code] = RecordedParameter(digest, is_stale(before, digest, written_since) and live(), None)
        elif before is not None:
            found[code] = before if before.dropped is not None else before._replace(dropped=position)
    return found


def declared_parameter(parameters: Mapping[str, Mapping[str, P]], type: str, code: str) -> P:
    """Returns a parameter of an engine's layout. Raises ValueError if the schema does not declare it."""
    try:
        return parameters[type][code]
    except KeyError:
        raise ValueError(f"{type} has no indexed parameter {code!r}") from None


def check_entries(type: str, code: str, entries: Sequence[IndexEntry], single: bool) -> None:
    """Raises ValueError for different entries of a parameter that is declared single."""
    if single and len(entries) > 1 and len(set(entries)) > 1:
        raise ValueError(f"{type}.{code} is declared single but has {len(entries)} entries")


def given_entries(index: IndexEntries | None) -> dict[str, Sequence[IndexEntry]]:
    """Returns the parameters that have entries."""
    return {code: entries for code, entries in (index or {}).items() if entries}
