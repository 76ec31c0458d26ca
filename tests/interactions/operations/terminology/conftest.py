"""Calls of terminology operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.api import Api, issue
from werkzeug.test import TestResponse

Json = dict[str, Any]


@pytest.fixture
def call(api: Api) -> Callable[..., Json]:
    """Calls an operation with GET, or with POST where a parameter is not primitive; the answer of a success."""

    def run(path: str, **parameters: Any) -> Json:
        answer = ask(api, path, **parameters)
        assert answer.status_code == 200, answer.text
        found: Json = answer.get_json()
        return found

    return run


@pytest.fixture
def refused(api: Api) -> Callable[..., tuple[int, str, str]]:
    """Calls an operation that is refused: status, code and diagnostics."""

    def run(path: str, **parameters: Any) -> tuple[int, str, str]:
        answer = ask(api, path, **parameters)
        first = issue(answer)
        return answer.status_code, first["code"], first["diagnostics"]

    return run


def ask(api: Api, path: str, **parameters: Any) -> TestResponse:
    """Names are written with "_" for "-"; a list is given several times; a dict makes it a POST: of a resource, a
    Coding (with a code) or a CodeableConcept (with coding)."""
    pairs = [(n.replace("_", "-"), v) for n, v in parameters.items()]
    pairs = [(n, one) for n, v in pairs for one in (v if isinstance(v, list) else [v])]
    if not any(isinstance(v, dict) for _, v in pairs):
        return api.client.get(f"/fhir/{path}", query_string=[(n, _text(v)) for n, v in pairs])
    return api.post(path, {"resourceType": "Parameters", "parameter": [{"name": n, **_value(n, v)} for n, v in pairs]})


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_TYPES = {"url": "Uri", "system": "Uri", "source": "Uri", "target": "Uri", "targetsystem": "Uri", "code": "Code"}


def _value(name: str, value: Any) -> Json:
    if isinstance(value, dict):
        if "resourceType" in value:
            return {"resource": value}
        if "part" in value:
            return value
        return {"valueCodeableConcept": value} if "coding" in value else {"valueCoding": value}
    if isinstance(value, bool):
        return {"valueBoolean": value}
    if isinstance(value, int):
        return {"valueInteger": value}
    kind = "Canonical" if name.endswith(("-system", "-version")) else _TYPES.get(name, "String")
    return {f"value{kind}": value}
