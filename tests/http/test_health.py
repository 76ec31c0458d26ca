"""Health checks warn of a server that everyone can reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.api import Api, issue
from support.targets import CERTIFIED

from fhirstore.http.app import make_app
from fhirstore.model.context import InteractionSummary
from fhirstore.plugins.hookspecs import hookimpl
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins

MakeApi = Callable[..., Api]


@pytest.mark.parametrize(("listening_on", "is_warned"), [
    ("0.0.0.0", True), ("::", True), ("192.0.2.7", True), ("fhir.internal", True), ("", True),
    ("127.0.0.1", False), ("::1", False), ("localhost", False), (None, False),
])  # fmt: skip
def test_ready_warns_of_a_server_that_everyone_can_reach(api: Api, listening_on: str | None, is_warned: bool) -> None:
    answer = Api(make_app(api.ctx, listening_on), api.ctx).get("/health/ready")
    assert answer.status_code == 200
    assert (issue(answer)["severity"] == "warning") is is_warned
    if is_warned:
        assert "can read and change all data" in issue(answer)["diagnostics"]


class Guarded:
    @hookimpl
    def authorize(self, interaction: InteractionSummary) -> None:
        pass


def test_rules_of_access_or_tls_end_the_warning(make_api: MakeApi) -> None:
    api = make_api()
    guarded = replace(api.ctx, plugins=Plugins([LoadedPlugin("test", "test", Guarded())]))
    certified = make_api(**CERTIFIED).ctx
    for server in (guarded, certified):
        answer = Api(make_app(server, "0.0.0.0"), server).get("/health/ready")
        assert issue(answer)["severity"] == "information"
