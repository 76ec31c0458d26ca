"""Internal errors: what the client gets, and what the log holds."""

from __future__ import annotations

import logging.config
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.api import Api, issue, patient

from fhirstore.commands.logs import logging_config

MakeApi = Callable[..., Api]
SECRETS = {"page_secret": "hunter2", "terminology_server": "https://user:hunter3@terms.example/fhir"}


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_internal_error_logs_its_place_and_no_values(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], format: str
) -> None:
    api = make_api(**SECRETS)
    api.put("Patient/1", patient("Durand", id="1"))

    def fail(stored: Any) -> bytes:
        name, server, settings = stored.body, api.ctx, api.ctx.settings
        raise ValueError(f"{settings} {server!r} {name!r}")

    monkeypatch.setattr("fhirstore.http.views.compose", fail)
    logging.config.dictConfig(logging_config("error", format))
    answer = api.get("Patient/1?%1b[31m%0aname=Durand")
    assert answer.status_code == 500
    identifier = issue(answer)["diagnostics"].split()[2].rstrip(".")
    written = capsys.readouterr().err
    assert identifier in written
    assert "GET /fhir/Patient/1" in written
    assert "test_app.py" in written
    assert "ValueError: " in written
    for hidden in ("Durand", "hunter2", "hunter3", str(api.ctx.secret), "\x1b"):
        assert hidden not in written


def test_representations_show_no_secrets(make_api: MakeApi) -> None:
    api = make_api(**SECRETS, max_count=7)
    with_options = replace(api.ctx.settings, plugin_options=("sas.key=hunter4",))
    for shown in (repr(api.ctx), repr(with_options)):
        assert "max_count=7" in shown
        assert "https://terms.example/fhir" in shown
        assert not any(hidden in shown for hidden in ("hunter", str(api.ctx.secret)))
