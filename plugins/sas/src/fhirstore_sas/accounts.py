"""Regulator accounts (INT_R02), SPEC §5: Practitioners that the SAS platform creates, changes and disables.

Practising professionals have the same type. `meta.source` distinguishes accounts from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fhirstore.plugins import And, Condition, ConditionalMatch, Issue, Message, Not, Or, Registry, Token, Write, error
from fhirstore_sas.names import IDNPS_SYSTEM, IDNST_SYSTEM, PLATFORM, REGULATOR_PROFILE, profile_names
from fhirstore_sas.searches import account_source, can_identify_accounts, notations

UNIQUE = "sas-account"


def is_account(resource: dict[str, Any] | None) -> bool:
    """Whether the resource is a regulator account: its source is the platform, or it claims the regulator's profile."""
    if resource is None or resource.get("resourceType") != "Practitioner":
        return False
    meta = resource.get("meta")
    source = meta.get("source") if isinstance(meta, dict) else None
    return source == PLATFORM or REGULATOR_PROFILE in profile_names(resource)


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


def check(resource: dict[str, Any]) -> Iterator[Issue]:
    """Yields issues for elements that the flow requires and the profile does not (SPEC §5.4)."""
    meta = resource.get("meta")
    if isinstance(meta, dict) and meta.get("source", PLATFORM) != PLATFORM:
        yield _missing("meta.source", Message("{platform} as its source", platform=PLATFORM))
    if not any(_has_text(i, "system", "value") for i in _items(resource, "identifier")):
        yield _missing("identifier", Message("an identifier with system and value"))
    if not isinstance(resource.get("active"), bool):
        yield _missing("active", Message("active: true or false"))
    names = _items(resource, "name")
    if not names:
        yield _missing("name", Message("a name with family and given"))
    for n, name in enumerate(names):
        if not _has_text(name, "family"):
            yield _missing(f"name[{n}].family", Message("the family name"))
        given = name.get("given")
        if not isinstance(given, list) or len(given) != 1:
            yield _missing(f"name[{n}].given", Message("exactly one given name"))
    telecom = _items(resource, "telecom")
    if not any(t.get("system") == "email" and _has_text(t, "value") for t in telecom):
        yield _missing("telecom", Message("a telecom with system email and a value"))


def unique_keys(resource: dict[str, Any]) -> Iterator[str]:
    """Two active accounts must not have the same identifier (SPEC §5.5). Inactive accounts have no keys."""
    if resource.get("active") is True:
        for identifier in _items(resource, "identifier"):
            if _has_text(identifier, "system", "value"):
                yield f"{UNIQUE}|{identifier['system']}|{identifier['value']}"


def _items(resource: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = resource.get(name)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _has_text(item: dict[str, Any], *names: str) -> bool:
    return all(isinstance(item.get(name), str) and item[name].strip() for name in names)


def _missing(path: str, what: str) -> Issue:
    rule = "account-" + path.partition("[")[0].rpartition(".")[2]
    return Issue(
        "error",
        "business-rule",
        Message("A regulator account needs {what}.", what=what),
        (f"Practitioner.{path}",),
        rule,
    )
