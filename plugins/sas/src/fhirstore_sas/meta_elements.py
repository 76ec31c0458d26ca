"""`meta` of response entries: one profile and the labels that the mode allows; the rest is unchanged (SPEC §3.3, §20).

Hundreds of slots have the same few values of `meta`, so results are cached.
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
    """The meta with this profile instead of the stored profiles."""
    return _with_profile(read(meta), profile)


@lru_cache(maxsize=4096)
def slot_meta(meta: bytes, profile: str, hidden: frozenset[str]) -> bytes | None:
    """The meta of a slot with this profile and without hidden labels. None if responses must not contain the slot: it
    is private, has only hidden labels, or its labels cannot be read."""
    members = read(meta)
    try:
        labels = objects(members.get("security"))
    except msgspec.ValidationError:
        return None
    kept: list[RawMembers] = []
    shows_label = hides_label = False
    for coding in labels:
        label = _label(coding)
        if label == "PRIVATE":
            return None
        if label in hidden:
            hides_label = True
            continue
        shows_label = shows_label or label is not None
        kept.append(coding)
    if hides_label and not shows_label:
        return None
    if hides_label:
        members["security"] = raw(kept)
    return _with_profile(members, profile)


def _label(coding: RawMembers) -> str | None:
    """The code of a slot label in capitals, because TRE_R314 is not case-sensitive. None for labels of other systems.
    `private` is in no published system, so it is accepted in any."""
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
    """Whether the meta of a Practitioner is that of a regulator account."""
    return _PLATFORM in meta and value(read(meta).get("source")) == PLATFORM
