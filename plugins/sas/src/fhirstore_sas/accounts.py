"""Regulator accounts (INT_R02), SPEC §5: Practitioners that the SAS platform creates, changes and disables.

Practising professionals have the same type. `meta.source` distinguishes accounts from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirstore.plugins import And, Condition, ConditionalMatch, Issue, Message, Not, Or, Registry, Token, Write, error
from fhirstore_sas.names import IDNPS_SYSTEM, IDNST_SYSTEM, PLATFORM
from fhirstore_sas.profile_requirements import has_text, objects
from fhirstore_sas.searches import account_source, can_identify_accounts, notations

UNIQUE = "sas-account"


def match(params: list[tuple[str, str]], registry: Registry) -> ConditionalMatch:
    """The criteria `identifier=…` match only accounts. The id in the body is ignored. If several accounts match, the
    only active one is updated (SPEC §5.2). Raises FhirError 400 for other criteria."""
    where = _identified(params)
    if where is None:
        raise error(
            400,
            "invalid",
            Message("A regulator account is updated as Practitioner?identifier=system|value, with no other criterion."),
            "http.identifier",
        )
    return ConditionalMatch(
        where=And((where, account_source(registry))), ignore_body_id=True, prefer=Token("active", None, "true")
    )


def match_professional(params: list[tuple[str, str]], registry: Registry) -> ConditionalMatch | None:
    """Criteria with the national id of a professional never match the account of a regulator with the same id (SPEC
    §20, no. 36). None for other criteria, which are plain FHIR."""
    where = _national(params, IDNPS_SYSTEM)
    if where is not None and can_identify_accounts(registry):
        return ConditionalMatch(where=And((where, Not(account_source(registry)))))
    return None if where is None else ConditionalMatch(where=where)


def match_structure(params: list[tuple[str, str]]) -> ConditionalMatch | None:
    """Criteria with the national id of a structure match with and without the prefix of the id, because the prefix is
    added when the structure is stored. None for other criteria, which are plain FHIR."""
    where = _national(params, IDNST_SYSTEM)
    return None if where is None else ConditionalMatch(where=where)


def _national(params: list[tuple[str, str]], system: str) -> Condition | None:
    """The criteria `identifier=system|value` of this national system, in all notations; None for other criteria."""
    where = _identified(params)
    return Or(notations(where.system, where.code)) if isinstance(where, Token) and where.system == system else None


def _identified(params: list[tuple[str, str]]) -> Condition | None:
    """The criteria `identifier=system|value[,…]`; None for other criteria."""
    texts = [value for name, value in params if name not in ("_format", "_pretty")]
    if len(texts) != 1 or ("identifier", texts[0]) not in params:
        return None
    found = []
    for item in texts[0].split(","):
        system, bar, code = item.strip().partition("|")
        if not (system and bar and code):
            return None
        found.append(Token("identifier", system, code))
    return found[0] if len(found) == 1 else Or(tuple(found))


def normalise(write: Write) -> list[Issue]:
    """Sets `meta.source` of an account that has only the profile, and returns an information about it. The Location
    header of accounts has no version."""
    write.location_without_version = True
    resource = write.resource
    assert resource is not None
    meta = resource.get("meta")
    if write.interaction != "validate" and isinstance(meta, dict) and "source" not in meta:
        meta["source"] = PLATFORM
        text = Message("meta.source was set to {platform}, which identifies regulator accounts.", platform=PLATFORM)
        return [Issue("information", "informational", text, ("Practitioner.meta.source",))]
    return []


def unique_keys(resource: dict[str, Any]) -> Iterator[str]:
    """Two active accounts must not have the same identifier (SPEC §5.5). Inactive accounts have no keys."""
    if resource.get("active") is True:
        for identifier in objects(resource, "identifier"):
            if has_text(identifier, "system", "value"):
                yield f"{UNIQUE}|{identifier['system']}|{identifier['value']}"
