"""A server for the tests of the official kit: gunicorn, the statement sas-editor, the agenda of support/sas_kit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.process import Process
from support.sas_kit import agenda


@pytest.fixture(scope="package")
def kit_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    store = tmp_path_factory.mktemp("kit") / "kit.db"
    server = Process(store, "--plugin", "sas", "--capability", "sas-editor", workers=1)
    try:
        for resource in agenda():
            status, _, answer = server.call("PUT", f"{resource['resourceType']}/{resource['id']}", resource)
            assert status == 201, answer
        yield server
    finally:
        server.stop()
