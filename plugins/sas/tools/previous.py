"""What the guide 1.1.0 states otherwise (SPEC §17): four profiles and a value set.

Versions of a canonical stand side by side, so that `canonical|1.1.0` means these and the canonical alone 1.2.0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sas_profiles
from differential import Json, el
from sas_profiles import CPTS_BUNDLE, CPTS_ORGANIZATION, LOCATION_TYPE, SAS, SASFR, SASVS, concept

VERSION = "1.1.0"
ORGANIZATION = SAS + "sas-cpts-organization-aggregator"
PARTICIPATION = SASVS + "sas-sos-valueset-participant-status"


def _with(elements: Sequence[Json], *changed: Json, without: Sequence[str] = ()) -> list[Json]:
    """The elements, those of the same path replaced, without some."""
    by_path = {one["path"]: one for one in changed}
    return [by_path.get(one["path"], one) for one in elements if one["path"] not in without]


_ENTRY = "entry:organizationAgregateurCPTS.resource"
_ELEMENTS: dict[str, list[Json]] = {
    SASFR + "FrAppointmentSAS": _with(
        sas_profiles.APPOINTMENT, el("participant.status", patternCode="accepted"), without=["created"]
    ),
    SAS + "sas-sos-appointment": _with(
        sas_profiles.SOS_APPOINTMENT,
        el("participant.status", binding=("required", PARTICIPATION)),
        without=["created"],
    ),
    ORGANIZATION: _with(
        CPTS_ORGANIZATION, el("identifier.type", patternCodeableConcept=concept(LOCATION_TYPE, "IDNST"))
    ),
    # The same in both versions, but for the version of the organizations in it.
    SAS + "sas-cpts-bundle-aggregator": _with(
        CPTS_BUNDLE,
        el(_ENTRY, types=[{"code": "Organization", "profile": [f"{ORGANIZATION}|{VERSION}"]}]),
    ),
}


def resources() -> list[dict[str, Any]]:
    """All resources of 1.1.0 that differ."""
    profiles = sas_profiles.made(VERSION, _ELEMENTS)
    values: Json = {
        "resourceType": "ValueSet",
        "id": PARTICIPATION.rpartition("/")[2],
        "url": PARTICIPATION,
        "version": VERSION,
        "name": "ParticipantStatusSASSOS",
        "title": "Whether SOS Médecins have accepted",
        "status": "active",
        "compose": {
            "include": [
                {
                    "system": "http://hl7.org/fhir/participationstatus",
                    "concept": [{"code": "accepted"}, {"code": "needs-action"}],
                }
            ]
        },
    }
    return [*profiles, values]
