"""`meta` of answer entries: one stamped profile, labels that the mode may show; the rest as stored (SPEC §3.3, §20).

The same few metas come back on hundreds of slots, so each is worked out once.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from fhirstore_sas.names import PLATFORM, TRE_R314
from fhirstore_sas.raw_json import RawMembers, objects, raw, read, value, write

_PLATFORM = PLATFORM.encode()
_LABEL_SYSTEMS = (None, TRE_R314)


@lru_cache(maxsize=4096)
def stamped(meta: bytes, profile: str) -> bytes:
    """The meta with this one profile instead of those it has."""
    return _with_profile(read(meta), profile)


@lru_cache(maxsize=4096)
def slot_meta(meta: bytes, profile: str, hidden: frozenset[str]) -> bytes | None:
    """The meta of a slot, stamped, without the hidden labels; None where the slot may not be shown at all: it is
    private, hidden labels are all it has, or its labels cannot be read."""
    members = read(meta)
    try:
        labels = objects(members.get("security"))
    except msgspec.ValidationError:
        return None
    kept: list[RawMembers] = []
    shown = taken = False
    for coding in labels:
        label = _label(coding)
        if label == "PRIVATE":
            return None
        if label in hidden:
            taken = True
            continue
        shown = shown or label is not None
        kept.append(coding)
    if taken and not shown:
        return None
    if taken:
        members["security"] = raw(kept)
    return _with_profile(members, profile)


def _label(coding: RawMembers) -> str | None:
    """The code of a slot label, in capitals (TRE_R314 is not case-sensitive); None for labels of other systems.
    `private` belongs to no published system, so it counts in any."""
    code = value(coding.get("code"))
    if not isinstance(code, str):
        return None
    system = value(coding.get("system"))
    known = system in _LABEL_SYSTEMS or (isinstance(system, str) and ("TRE_R314" in system or "TRE-R314" in system))
    return code.upper() if known or code.lower() == "private" else None


def _with_profile(members: RawMembers, profile: str) -> bytes:
    members.pop("_profile", None)
    return write({"profile": raw([profile]), **{k: v for k, v in members.items() if k != "profile"}})


def is_account(meta: bytes) -> bool:
    """The meta of a Practitioner is that of a regulator account."""
    return _PLATFORM in meta and value(read(meta).get("source")) == PLATFORM
