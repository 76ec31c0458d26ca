"""A server for the tests of the official kit, on each engine: gunicorn, the statement sas-editor, the agenda of
support/sas_kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.process import Process
from support.sas_kit import agenda


@pytest.fixture(scope="package", params=["sqlite", "mongodb"])
def kit_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("kit")
    store = () if request.param == "sqlite" else ("--store", request.getfixturevalue("replica").url(folder))
    server = Process(folder / "kit.db", "--plugin", "sas", "--capability", "sas-editor", *store, workers=1)
    try:
        for resource in agenda():
            status, _, answer = server.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
            assert status == 201, answer
        yield server
    finally:
        server.stop()
