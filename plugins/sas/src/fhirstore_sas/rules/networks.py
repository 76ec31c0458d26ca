"""Rules for CPTS, associations of SOS Médecins and their Locations (SPEC §4, §11.11 to §11.17)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhirstore_sas.json_node import Fault, JsonNode
from fhirstore_sas.names import FR_CORE_V2_0203, FR_LOCATION_IDENTIFIER_TYPE, IDNST_SYSTEM
from fhirstore_sas.value_formats import FINESS, SIRET


def cpts_identifier(organization: JsonNode) -> Iterator[Fault]:
    return _structure(organization, FINESS, (FR_CORE_V2_0203, FR_LOCATION_IDENTIFIER_TYPE))


def sos_identifier(organization: JsonNode) -> Iterator[Fault]:
    return _structure(organization, SIRET, (FR_LOCATION_IDENTIFIER_TYPE,))


def _structure(organization: JsonNode, form: re.Pattern[str], types: tuple[str, ...]) -> Iterator[Fault]:
    found = organization.each("identifier")
    one = found[0] if len(found) == 1 else organization.get("identifier")
    is_typed = any(system in types and code == "IDNST" for system, code in one.get("type").codings())
    if one.get("system").text != IDNST_SYSTEM or not is_typed or not form.fullmatch(one.get("value").text):
        yield one.fault(f"1 × {types[0]}#IDNST, {IDNST_SYSTEM}, {form.pattern}")


def contact(organization: JsonNode) -> Iterator[Fault]:
    if not organization.get("name").text.strip():
        yield organization.get("name").fault()
    if not any(t.get("value").text for t in organization.each("telecom")):
        yield organization.get("telecom").fault()


def sos_place(place: JsonNode) -> Iterator[Fault]:
    if not place.get("name").text.strip():
        yield place.get("name").fault()
    for one in place.each("identifier"):
        if list(one.get("type").codings()) != [(FR_LOCATION_IDENTIFIER_TYPE, "INTRN")]:
            yield one.get("type").fault(f"{FR_LOCATION_IDENTIFIER_TYPE}#INTRN")


def sos_actor(schedule: JsonNode) -> Iterator[Fault]:
    actors = [actor.reference for actor in schedule.each("actor")]
    if len(actors) != 1 or not actors[0].startswith("Location/"):
        yield schedule.get("actor").fault("Location/…")
