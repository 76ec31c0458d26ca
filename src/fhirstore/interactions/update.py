"""https://hl7.org/fhir/R4/http.html#update, #upsert (update as create) and #cond-update."""

from __future__ import annotations

import re
from typing import Any

from fhirstore.errors import error
from fhirstore.interactions.conditional import Criteria
from fhirstore.interactions.context import Server
from fhirstore.interactions.write import Plan, check_type, new_id, prepare
from fhirstore.model.stored import Guard, Stored
from fhirstore.plugins.hookspecs import Write

ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def check_id(type: str, id: str) -> None:
    """Raises 400 unless the text is an id: https://hl7.org/fhir/R4/datatypes.html#id."""
    if not ID.fullmatch(id):
        raise error(
            400,
            "value",
            f"{id[:80]!r} is not an id: 1 to 64 characters of A-Z, a-z, 0-9, '-' and '.' are.",
            f"{type}.id",
        )


def check_version(type: str, id: str, current: Stored | None, if_match: str | None) -> None:
    """Raises 412 unless the current version is the one that If-Match names (None = not asked)."""
    if if_match is None:
        return
    have = str(current.version) if current is not None and not current.deleted else None
    if (if_match != "*" and if_match != have) or have is None:
        text = f"its current version is {have}" if have else "it does not exist"
        raise error(
            412,
            "conflict",
            f"If-Match names version {if_match} of {type}/{id}, but {text}: read it again.",
            "http.If-Match",
        )


def plan_update(
    ctx: Server, type: str, id: str, resource: dict[str, Any], if_match: str | None = None, where: str | None = None
) -> Plan:
    """Replaces the resource, or creates it under this id where the deployment allows that."""
    ctx.served(type, "update")
    check_type(type, resource)
    check_id(type, id)
    given = resource.get("id")
    if given != id:
        text = f"The body has the id {given!r}" if given is not None else "The body has no id"
        raise error(400, "invalid", f"{text}; the URL says {id!r}, and the two must be equal.", f"{type}.id")
    return _put(ctx, type, id, resource, ctx.store.read(type, id), if_match, (), None, where)


def plan_conditional_update(
    ctx: Server,
    type: str,
    resource: dict[str, Any],
    criteria: Criteria,
    if_match: str | None = None,
    *,
    id: str | None = None,
    where: str | None = None,
) -> Plan:
    """One match is replaced, none creates, several refuse. id: the id for a creation, where one is reserved."""
    served = ctx.served(type, "update")
    check_type(type, resource)
    if not served.conditional_update:
        raise error(412, "not-supported", f"Conditional update is not served on {type}.")
    seen = criteria.matches(ctx)
    found = criteria.choose(ctx, seen)
    guards = (criteria.guard(seen),)
    given = None if criteria.match.ignore_body_id else resource.get("id")
    if found is not None:
        if given is not None and given != found.id:
            raise error(
                400, "invalid", f"The body has the id {given!r}, but the criteria match {found.ref}.", f"{type}.id"
            )
        return _put(ctx, type, found.id, resource, found, if_match, guards, criteria.text, where)
    if given is None:
        check_version(type, "?" + criteria.text, None, if_match)
        resource.pop("id", None)
        write = Write("create", type, id or new_id(), resource, query=criteria.text)
        return prepare(ctx, write, status=201, guards=guards, where=where)
    if not isinstance(given, str):
        raise error(400, "value", f"The id {str(given)[:80]!r} in the body is not a string.", f"{type}.id")
    check_id(type, given)
    current = ctx.store.read(type, given)
    if current is not None and not current.deleted:
        raise error(409, "conflict", f"{type}/{given} exists, but does not match the criteria.", f"{type}.id")
    return _put(ctx, type, given, resource, current, if_match, guards, criteria.text, where)


def _put(
    ctx: Server,
    type: str,
    id: str,
    resource: dict[str, Any],
    current: Stored | None,
    if_match: str | None,
    guards: tuple[Guard, ...],
    query: str | None,
    where: str | None,
) -> Plan:
    check_version(type, id, current, if_match)
    exists = current is not None and not current.deleted
    if not exists and not ctx.registry.types[type].update_create:
        raise error(405, "not-supported", f"{type}/{id} does not exist, and ids are given by the server: POST it.")
    resource["id"] = id
    write = Write("update", type, id, resource, previous=current, query=query)
    return prepare(ctx, write, status=200 if exists else 201, guards=guards, where=where)
