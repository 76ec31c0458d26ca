"""Writes that conflict with other writers are planned again, until the time of the request is over."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fhirstore.errors import FhirError
from fhirstore.interactions.body import ParsedBody
from fhirstore.interactions.create import Create
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import commit
from fhirstore.model.context import RequestContext
from fhirstore.store.errors import VersionConflict


def test_a_write_gives_up_at_the_deadline_of_its_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = 0

    def conflict(*_: object) -> None:
        nonlocal attempts
        attempts += 1
        assert attempts < 5, "the write was tried again after the deadline"
        raise VersionConflict("Patient", "a", 1, 2)

    monkeypatch.setattr(type(server.store), "commit", conflict)
    patient = ParsedBody({"resourceType": "Patient", "active": True})
    patience = replace(server, settings=replace(server.settings, write_timeout_s=1000.0))
    request = RequestContext(deadline=time.monotonic() - 1.0)
    with pytest.raises(FhirError) as refused:
        commit(patience, request, lambda: Create(type="Patient", body=patient).plan_alone(patience, request))
    assert (refused.value.status, attempts) == (409, 1)
