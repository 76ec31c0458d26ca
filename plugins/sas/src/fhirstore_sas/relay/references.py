"""National identifiers for local references of Appointments, which the platform cannot resolve (SPEC §6.2).

A participant refers to a Practitioner or a PractitionerRole. Without such a participant, the schedules of the slots
name the practitioners. The regulator is an account, or a Practitioner.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fhirstore.plugins import FhirError, Issue, Message, PendingCommit, ResourceReader, error, resource_of
from fhirstore_sas import raw_json
from fhirstore_sas.identifiers import practitioner_identifiers
from fhirstore_sas.names import IDNPS_SYSTEM, PLATFORM
from fhirstore_sas.profile_requirements import has_text, objects, unidentified_operators

Lookup = Callable[[str], dict[str, Any] | None]
"""Returns the resource with this reference ("Type/id"), or None."""
Json = dict[str, Any]

PROFESSIONALS = ("Practitioner", "PractitionerRole")
PARTICIPANT_RULE = "appointment-participant"
_LOCAL = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?=/_history/|$)")
_ABSOLUTE = re.compile(r"https?://\S+/([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/\S+)?")


def nothing(reference: str) -> Json | None:
    """A lookup that finds no resource."""
    return None


def find_resource(reader: ResourceReader, commit: PendingCommit | None, reference: str) -> Json | None:
    """A stored resource, as it will be after the commit if there is one."""
    type, _, id = reference.partition("/")
    written = commit.written(type, id) if commit is not None else None
    if written is not None:
        return written.resource
    stored = reader.read(type, id)
    return None if stored is None else resource_of(stored)


class LocalReferences:
    """The references of one Appointment. base: of absolute URLs of this server, None if it is not known."""

    def __init__(self, appointment: Json, lookup: Lookup, base: str | None = None) -> None:
        self._appointment, self._lookup, self._base = appointment, lookup, base

    def is_professional(self, actor: Json) -> bool:
        """Whether a participant is a practitioner, as far as its reference tells."""
        text = actor.get("reference")
        if isinstance(text, str) and text.startswith("#"):
            contained = self._contained(text)
            return contained is not None and contained.get("resourceType") in PROFESSIONALS
        if isinstance(text, str):
            relative = _ABSOLUTE.fullmatch(text)
            local = _LOCAL.match(relative[1] if relative else text)
            if local is not None:
                return local[1] in PROFESSIONALS
        return actor.get("type") in PROFESSIONALS

    def professional(self, actor: Json, where: str) -> Json:
        """The reference by national identifier. Raises FhirError 422 if the practitioner cannot be named."""
        practitioner = self._practitioner(actor, where)
        found = _national_identifiers(practitioner)
        if not found:
            text = Message("{reference} has no national identifier.", reference=_shown(actor))
            raise _cannot_name(text, where)
        return {"identifier": found[0]} | ({"display": actor["display"]} if "display" in actor else {})

    def regulator(self, reference: Json, where: str) -> Json:
        """The reference to a regulator by national or technical identifier. Raises FhirError 422."""
        practitioner = self._practitioner(reference, where)
        found = regulator_identifier(practitioner)
        if found is None:
            text = Message("{reference} has no identifier that the platform knows.", reference=_shown(reference))
            raise _cannot_name(text, where)
        return {"identifier": found}

    def of_slots(self) -> list[Json]:
        """References to the practitioners of the schedules of the slots. Raises FhirError 422 for a practitioner who
        cannot be named."""
        found: dict[str, Json] = {}
        for n, reference in enumerate(objects(self._appointment, "slot")):
            where = f"Appointment.slot[{n}]"
            slot = self._resource(reference)
            schedule = None if slot is None else self._resource(slot.get("schedule"))
            actors = [] if schedule is None else objects(schedule, "actor")
            for type in PROFESSIONALS:
                named = [one for one in actors if str(one.get("reference")).startswith(f"{type}/")]
                for actor in named:
                    one = self.professional({"reference": actor["reference"]}, where)
                    found.setdefault(one["identifier"]["value"], one)
                if named:
                    break
        return list(found.values())

    def _practitioner(self, reference: Json, where: str) -> Json:
        """The Practitioner of a reference to a Practitioner or a PractitionerRole. Raises FhirError 422."""
        resource = self._resource(reference)
        if resource is None:
            raise _cannot_name(self._missing(reference), where)
        if resource.get("resourceType") != "PractitionerRole":
            return resource
        owner = resource.get("practitioner")
        identifier = owner.get("identifier") if isinstance(owner, dict) else None
        if isinstance(identifier, dict) and identifier.get("system") == IDNPS_SYSTEM:
            return {"resourceType": "Practitioner", "identifier": [identifier]}
        practitioner = self._resource(owner)
        if practitioner is None:
            text = Message("{reference} names no Practitioner of this server.", reference=_shown(reference))
            raise _cannot_name(text, where)
        return practitioner

    def _resource(self, reference: object) -> Json | None:
        """The resource of this server, or the contained one; None if there is none."""
        text = reference.get("reference") if isinstance(reference, dict) else None
        if not isinstance(text, str):
            return None
        if text.startswith("#"):
            return self._contained(text)
        if self._base is not None:
            text = text.removeprefix(self._base + "/")
        local = _LOCAL.match(text)
        return None if local is None else self._lookup(local[0])

    def _contained(self, text: str) -> Json | None:
        return next((one for one in objects(self._appointment, "contained") if one.get("id") == text[1:]), None)

    def _missing(self, reference: Json) -> Message:
        text = str(reference.get("reference", ""))
        absolute = _ABSOLUTE.fullmatch(text)
        if absolute is not None and not (self._base and text.startswith(self._base + "/")):
            return Message(
                "{reference} is treated as a resource of another server. If it is one of this server, refer to it as "
                "{local}, or set base_url.",
                reference=text,
                local=absolute[1],
            )
        return Message("{reference} does not exist on this server.", reference=_shown(reference))


def complete_operators(appointment: Json, reader: ResourceReader, base: str | None) -> Iterator[Issue]:
    """Adds the identifier to operators that have only a local reference, because the profiles require it. Yields an
    information for each. References that cannot be resolved are unchanged."""
    references = LocalReferences(appointment, partial(find_resource, reader, None), base)
    for n, reference in unidentified_operators(appointment):
        where = f"Appointment.extension[{n}].valueReference"
        try:
            named = references.regulator(reference, where)
        except FhirError:
            continue
        reference["identifier"] = named["identifier"]
        text = Message("The identifier of {reference} was added.", reference=_shown(reference))
        yield Issue("information", "informational", text, (where,))


def regulator_identifier(practitioner: Json) -> Json | None:
    """The identifier by which the platform knows a regulator: national, else technical (SPEC §6.2)."""
    national = _national_identifiers(practitioner)
    technical = (
        {name: one[name] for name in ("type", "system", "value") if name in one}
        for one in objects(practitioner, "identifier")
        if one.get("system") == PLATFORM and has_text(one, "value")
    )
    return national[0] if national else next(technical, None)


def _national_identifiers(practitioner: Json) -> list[Json]:
    """National identifiers as in responses to the platform, RPPS first."""
    stored = raw_json.objects(raw_json.raw(objects(practitioner, "identifier")))
    found = [
        {name: raw_json.value(one[name]) for name in ("type", "system", "value")}
        for one in practitioner_identifiers(stored, ())
    ]
    return sorted(found, key=lambda one: not str(one["value"]).startswith("8"))


def _shown(reference: Json) -> str:
    return str(reference.get("reference") or reference.get("display") or "∅")


def _cannot_name(reason: Message, where: str) -> FhirError:
    text = Message(
        "{reason} The platform identifies people by national identifier. Refer to a Practitioner or PractitionerRole "
        "of this server that has one, or add it to the reference (identifier with system {system}).",
        reason=reason,
        system=IDNPS_SYSTEM,
    )
    return error(422, "business-rule", text, where, rule=PARTICIPANT_RULE)
