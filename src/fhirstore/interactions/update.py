"""https://hl7.org/fhir/R4/http.html#update, with update as create (#upsert)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fhirstore.errors import error
from fhirstore.interactions.base import wrong_type
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import (
    ALONE,
    Plan,
    Surroundings,
    Target,
    WriteInteraction,
    prepare,
)
from fhirstore.model.context import RequestContext
from fhirstore.model.messages import Message
from fhirstore.model.stored import Stored
from fhirstore.plugins.model import Write

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(WriteInteraction):
    """Replaces a resource, or creates it under its id where the deployment allows that."""

    code: ClassVar[str] = "update"

    id: str

    def identify(
        self, server: Server, request: RequestContext, resource: dict[str, Any], around: Surroundings
    ) -> Target:
        if resource.get("resourceType") != self.type:
            raise wrong_type(self.type, resource)
        check_id(self.type, self.id)
        return Target(self.id)

    def plan(
        self,
        server: Server,
        request: RequestContext,
        resource: dict[str, Any],
        target: Target,
        around: Surroundings = ALONE,
    ) -> Sequence[Plan]:
        given = resource.get("id")
        if given != self.id:
            text = (
                Message("The body has the id {given}", given=repr(given))
                if given is not None
                else Message("The body has no id")
            )
            raise error(
                400,
                "invalid",
                Message("{text}; it must be {id} as in the URL.", text=text, id=repr(self.id)),
                f"{self.type}.id",
            )
        current = server.store.read(self.type, self.id)
        return [plan_put(server, request, self, resource, Target(self.id, current), around)]


def plan_put(
    server: Server,
    request: RequestContext,
    interaction: WriteInteraction,
    resource: dict[str, Any],
    target: Target,
    around: Surroundings,
) -> Plan:
    """The plan of an update with or without criteria. target.match: the current version, None if there is none."""
    type, id, current = interaction.type, target.id, target.match
    check_versions(interaction, id, current)
    exists = current is not None and not current.deleted
    if not exists and not server.registry.types[type].update_create:
        text = Message(
            "{type}/{id} does not exist, and the server assigns the ids of {type}. Create it with POST.",
            type=type,
            id=id,
        )
        raise error(405, "not-supported", text)
    resource["id"] = id
    query = target.criteria.text if target.criteria is not None else None
    write = Write("update", type, id, resource, previous=current, query=query)
    status = 200 if exists else 201
    return prepare(server, request, write, status=status, guards=target.guards, where=around.location)


def is_id(text: str) -> bool:
    """Whether the text is an id: https://hl7.org/fhir/R4/datatypes.html#id."""
    return _ID.fullmatch(text) is not None


def check_id(type: str, id: str) -> None:
    """Raises 400 unless the text is an id."""
    if not is_id(id):
        text = Message(
            "{id} is not an id. An id has 1 to 64 of the characters A-Z, a-z, 0-9, '-' and '.'.", id=repr(id[:80])
        )
        raise error(400, "value", text, f"{type}.id")


def check_versions(interaction: WriteInteraction, id: str, current: Stored | None) -> None:
    """Raises 412 unless the current version is one that If-Match names, and none that If-None-Match names ("*": any).

    id: of the resource, or its criteria, for messages. https://hl7.org/fhir/R4/http.html#concurrency,
    https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2"""
    if_match, if_none_match = interaction.if_match, interaction.if_none_match
    if if_match is None and if_none_match is None:
        return
    version = str(current.version) if current is not None and not current.deleted else None
    type = interaction.type
    if if_match is not None and (version is None or not ("*" in if_match or version in if_match)):
        state = (
            Message("its current version is {version}", version=version)
            if version is not None
            else Message("it does not exist")
        )
        text = Message(
            "If-Match names version {if_match} of {type}/{id}, but {state}. Read it again.",
            if_match=", ".join(if_match),
            type=type,
            id=id,
            state=state,
        )
        raise error(412, "conflict", text, "http.If-Match")
    if if_none_match is not None and version is not None and ("*" in if_none_match or version in if_none_match):
        text = Message(
            "If-None-Match: {if_none_match} refuses the change, because {type}/{id} exists with version {version}.",
            if_none_match=", ".join(if_none_match),
            type=type,
            id=id,
            version=version,
        )
        raise error(412, "conflict", text, "http.If-None-Match")
