"""The operations use another terminology server for unavailable code systems and value sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.animals import codes, out
from support.api import Api, issue
from support.terminology_server import OUTCOME, SCT, TerminologyServer, running_terminology_server


@pytest.fixture
def stub() -> Iterator[TerminologyServer]:
    with running_terminology_server() as server:
        yield server


@pytest.fixture
def api_with(make_api: Callable[..., Api], stub: TerminologyServer) -> Iterator[Api]:
    api = make_api(terminology_server=stub.base)
    yield api
    assert api.ctx.terminology.remote is not None
    api.ctx.terminology.remote.close()


def test_the_operations_ask_it(api_with: Api, stub: TerminologyServer) -> None:
    api = api_with
    made = {"resourceType": "ValueSet", "status": "active", "compose": {"include": [{"system": SCT}]}}
    assert codes(api.post("ValueSet/$expand", made).get_json()) == ["1", "2"]
    assert codes(api.get("ValueSet/$expand?url=http://not-here").get_json()) == ["1", "2"]
    for path in ("ValueSet/$validate-code?url=http://not-here&", "CodeSystem/$validate-code?url=http://not-here&"):
        assert out(api.get(f"{path}code=1").get_json())["result"] is True
        assert out(api.get(f"{path}code=3").get_json())["result"] is False
    found = api.get("CodeSystem/$lookup?system=http://not-here&code=1&property=parent&displayLanguage=fr").get_json()
    assert out(found)["display"] == "Concept 1"
    assert stub.asked[-1][1]["property"]["valueCode"] == "parent"


def test_when_it_fails_the_refusal_names_it(api_with: Api, stub: TerminologyServer) -> None:
    stub.says(OUTCOME, 500)
    answers = [
        api_with.get("ValueSet/$expand?url=http://not-here"),
        api_with.get("ValueSet/$validate-code?url=http://not-here&code=1"),
        api_with.get("CodeSystem/$lookup?system=http://not-here&code=1"),
    ]
    for answer in answers:
        assert answer.status_code == 422
        assert stub.base in issue(answer)["diagnostics"]
