"""An OperationDefinition and a function are an operation: parameters, levels, methods, answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, Template, issue

from fhirstore.errors import StartupError
from fhirstore.plugins import (
    OperationRequest,
    PluginContext,
    PluginOperation,
    error,
    hookimpl,
)
from fhirstore.plugins.loading import LoadedPlugin
from fhirstore.plugins.manager import Plugins

SLOT = {"resourceType": "Slot", "schedule": {"reference": "Schedule/1"}, "status": "free"}


def parameter(name: str, type: str | None = None, min: int = 0, max: str = "1", **more: Any) -> dict[str, Any]:
    found = {"name": name, "use": "in", "min": min, "max": max} | more
    return found | ({"type": type} if type else {})


def definition(code: str, *parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "OperationDefinition",
        "url": f"http://o/{code}",
        "name": code,
        "status": "active",
        "kind": "operation",
        "code": code,
        "resource": ["Slot"],
        "system": True,
        "type": True,
        "instance": True,
        "parameter": list(parameters),
    } | more


PAIR = [parameter("key", "code", min=1), parameter("size", "integer")]
ECHO = definition(
    "echo",
    parameter("text", "string"),
    parameter("flag", "boolean"),
    parameter("count", "positiveInt", max="*"),
    parameter("rate", "decimal"),
    parameter("kind", "code", binding={"strength": "required", "valueSet": "http://hl7.org/fhir/ValueSet/slotstatus"}),
    parameter("coding", "Coding"),
    parameter("any", "Element"),
    parameter("slot", "Slot"),
    parameter("pair", max="*", part=PAIR),
    parameter("said", "string", use="out"),
    parameter("where", use="out", max="*", part=[parameter("type", "code"), parameter("id", "id")]),
    affectsState=False,
)
NEED = definition("need", parameter("name", "string", min=1), parameter("return", "Slot", use="out", min=1))
QUIET = definition("quiet", system=False, instance=False)
UNDONE = definition("undone")


class OperationPlugin:
    """Answers what it was asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    @hookimpl
    def packages(self) -> list[str]:
        return [str(self.folder)]

    @hookimpl
    def operations(self) -> list[PluginOperation]:
        return [
            PluginOperation("http://o/echo", self.echo),
            PluginOperation("http://o/need", self.need),
            PluginOperation("http://o/quiet", lambda call, context: None),
        ]

    def echo(self, call: OperationRequest, context: PluginContext) -> dict[str, Any]:
        said = json.dumps(dict(call.arguments), default=str, sort_keys=True)
        return {"said": said, "where": [{"type": call.type, "id": call.id}]}

    def need(self, call: OperationRequest, context: PluginContext) -> dict[str, Any]:
        if call.one("name") == "nobody":
            raise error(409, "conflict", "There is nobody.")
        return {"return": SLOT | {"comment": call.one("name")}}


def deploy(folder: Path, operations: list[dict[str, Any]]) -> Template:
    said = [{"name": o["code"], "definition": o["url"]} for o in operations]
    slot = {
        "type": "Slot",
        "interaction": [{"code": "create"}],
        "operation": [o for o, d in zip(said, operations, strict=True) if d["type"]],
    }
    rest = {
        "mode": "server",
        "resource": [slot, {"type": "Patient"}],
        "interaction": [{"code": "batch"}],
        "operation": [o for o, d in zip(said, operations, strict=True) if d["system"]],
    }
    statement = {
        "resourceType": "CapabilityStatement",
        "url": "http://o/statement",
        "status": "active",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [rest],
    }
    (folder / "package.json").write_text(json.dumps({"name": "o", "version": "1.0.0"}))
    for resource in (statement, ECHO, NEED, QUIET, UNDONE):
        (folder / f"{resource['url'].rpartition('/')[2]}.json").write_text(json.dumps(resource))
    plugins = Plugins([LoadedPlugin("o", "o", OperationPlugin(folder))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plugins, "load", lambda *_: plugins)
        return Template.make(capability="http://o/statement")


@pytest.fixture(scope="module")
def with_operations(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return deploy(tmp_path_factory.mktemp("operations"), [ECHO, NEED, QUIET])


@pytest.fixture
def server(with_operations: Template, tmp_path: Path) -> Iterator[Api]:
    api = with_operations.fresh(tmp_path / "o.db")
    yield api
    api.ctx.store.close()


def parameters(*given: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Parameters", "parameter": list(given)}


def said(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["resourceType"] == "Parameters"
    return json.loads(answer.get_json()["parameter"][0]["valueString"])


@pytest.mark.parametrize(
    ("path", "target"), [("$echo", {}), ("Slot/$echo", {"type": "Slot"}), ("Slot/7/$echo", {"type": "Slot", "id": "7"})]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_is_called_at_each_level_of_its_definition(
    server: Api, method: str, path: str, target: dict[str, str]
) -> None:
    answer = server.call(method, path, parameters() if method == "POST" else None)
    values = {"type": "valueCode", "id": "valueId"}
    parts = [{"name": name, values[name]: value} for name, value in target.items()]
    assert answer.get_json()["parameter"][1] == {"name": "where", "part": parts}


def test_primitives_in_the_url_become_json_values(server: Api) -> None:
    found = said(server.get("$echo?text=a%20b&flag=true&count=1&count=2&rate=1.50&_format=json&_pretty=true"))
    assert found == {"text": ["a b"], "flag": [True], "count": [1, 2], "rate": ["1.50"]}


def test_a_body_gives_values_of_all_kinds(server: Api) -> None:
    body = parameters(
        {"name": "text", "valueCode": "c"},
        {"name": "coding", "valueCoding": {"system": "http://s", "code": "c"}},
        {"name": "any", "valueDate": "2026-01-01"},
        {"name": "slot", "resource": {"resourceType": "Slot", "wrong": True}},
        {"name": "pair", "part": [{"name": "key", "valueCode": "k"}, {"name": "size", "valueInteger": 3}]},
        {"name": "pair", "part": [{"name": "key", "valueCode": "l"}]},
    )
    assert said(server.post("$echo", body)) == {
        "text": ["c"],
        "coding": [{"system": "http://s", "code": "c"}],
        "any": [["date", "2026-01-01"]],
        "slot": [{"resourceType": "Slot", "wrong": True}],
        "pair": [{"key": ["k"], "size": [3]}, {"key": ["l"]}],
    }


def test_a_resource_alone_is_the_only_parameter_that_is_one(server: Api) -> None:
    assert said(server.post("$echo?text=x", SLOT)) == {"text": ["x"], "slot": [SLOT]}


def test_a_post_may_have_no_body(server: Api) -> None:
    assert said(server.call("POST", "$echo?flag=false")) == {"flag": [False]}


@pytest.mark.parametrize(
    ("query", "where", "told"),
    [
        ("colour=red", "http.colour", "has no parameter 'colour'. Its parameters: text, flag"),
        ("flag=yes", "http.flag", "true or false"),
        ("count=0", "http.count", "from 1 to"),
        ("count=1.5", "http.count", "from 1 to"),
        ("rate=x", "http.rate", "decimal"),
        ("text=a&text=b", "Parameters", "text occurs 2 times; the maximum is 1"),
        ("kind=open", "http.kind", "busy"),
        ("coding=c", "http.coding", "(Coding) is not primitive"),
        ("pair=c", "http.pair", "not primitive"),
        ("text=", "http.text", "empty"),
    ],
)
def test_a_faulty_parameter_in_the_url_is_refused(server: Api, query: str, where: str, told: str) -> None:
    answer = server.get(f"$echo?{query}")
    assert answer.status_code == 400
    assert issue(answer)["expression"] == [where]
    assert told in issue(answer)["diagnostics"]


@pytest.mark.parametrize(
    ("given", "where", "told"),
    [
        ({"name": "colour", "valueCode": "red"}, "Parameters.parameter[0].name", "has no parameter 'colour'"),
        ({"valueCode": "red"}, "Parameters.parameter[0]", "name is missing"),
        ("red", "Parameters.parameter[0]", "name is missing"),
        ({"name": "text", "valueInteger": 1}, "Parameters.parameter[0].value", "expected: valueString"),
        ({"name": "text", "valueText": "a"}, "Parameters.parameter[0].value", "expected: valueString"),
        ({"name": "text"}, "Parameters.parameter[0]", "no value; expected: valueString"),
        ({"name": "text", "valueString": "a", "valueCode": "b"}, "Parameters.parameter[0]", "valueString and"),
        ({"name": "text", "valueString": 1}, "Parameters.parameter[0].value", "expected a string"),
        ({"name": "coding", "valueCoding": {"cod": "a"}}, "Parameters.parameter[0].value.cod", "not a property"),
        ({"name": "slot", "resource": {"resourceType": "Patient"}}, "Parameters.parameter[0].resource", "a Slot"),
        ({"name": "slot", "resource": 1}, "Parameters.parameter[0].resource", "no resource"),
        ({"name": "slot", "valueCode": "a"}, "Parameters.parameter[0].value", "expected: resource with a Slot"),
        ({"name": "pair", "valueCode": "a"}, "Parameters.parameter[0].value", "expected: part with key, size"),
        ({"name": "pair", "part": []}, "Parameters.parameter[0]", "key is required"),
        ({"name": "pair", "part": {}}, "Parameters.parameter[0].part", "must be an array"),
        (
            {"name": "pair", "part": [{"name": "key", "valueCode": " "}]},
            "Parameters.parameter[0].part[0].value",
            "not a code",
        ),
        ({"name": "pair", "part": [{"name": "x"}]}, "Parameters.parameter[0].part[0].name", "no parameter 'x'"),
    ],
)
def test_a_faulty_parameter_in_the_body_is_refused(server: Api, given: Any, where: str, told: str) -> None:
    answer = server.post("$echo", parameters(given))
    assert answer.status_code == 400, answer.text
    assert issue(answer)["expression"] == [where]
    assert told in issue(answer)["diagnostics"]


def test_a_required_parameter_that_is_missing_is_named(server: Api) -> None:
    answer = server.post("$need", parameters())
    assert (answer.status_code, issue(answer)["code"]) == (400, "required")
    assert "name is required" in issue(answer)["diagnostics"]


def test_a_body_that_is_no_parameters_is_refused_where_no_resource_is_taken(server: Api) -> None:
    answer = server.post("$need?name=a", SLOT)
    assert answer.status_code == 400
    assert "requires the resource Parameters" in issue(answer)["diagnostics"]
    assert server.post("$echo", {"resourceType": "Patient"}).status_code == 400
    assert server.post("$echo", {"resourceType": 1}).status_code == 400


def test_a_resource_called_return_is_answered_alone(server: Api) -> None:
    assert server.post("$need?name=hello", parameters()).get_json() == SLOT | {"comment": "hello"}


def test_nothing_to_say_is_204(server: Api) -> None:
    answer = server.post("Slot/$quiet", parameters())
    assert (answer.status_code, answer.data) == (204, b"")


def test_a_refusal_of_the_function_is_answered(server: Api) -> None:
    assert server.post("$need?name=nobody", b"").status_code == 409


def test_get_is_refused_where_something_may_change(server: Api) -> None:
    answer = server.get("$need?name=a")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert server.put("Slot/$echo", SLOT).status_code == 405


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (
            "$quiet",
            "not an operation of the system level. Declared operations: $echo (system, type, instance), $need",
        ),
        ("Slot/1/$quiet", "not an operation of the instance level. Use Slot/$quiet."),
        ("Slot/$nothing", "$nothing is not an operation of Slot. Declared operations: $echo"),
        ("Patient/$echo", "not an operation of Patient. Declared operations: none."),
        ("Schedule/$echo", "Schedule is not supported by this server"),
    ],
)
def test_an_undeclared_operation_is_404_and_lists_the_declared_ones(server: Api, path: str, told: str) -> None:
    answer = server.post(path, parameters())
    assert answer.status_code == 404, answer.text
    assert told in issue(answer)["diagnostics"]


def test_an_id_that_is_none_is_refused(server: Api) -> None:
    assert server.post("Slot/a_b/$echo", parameters()).status_code == 400


def test_entries_of_a_batch_call_operations(server: Api) -> None:
    entries = [
        {"request": {"method": "GET", "url": "Slot/7/$echo?text=a"}},
        {"request": {"method": "POST", "url": "$need"}, "resource": parameters({"name": "name", "valueString": "b"})},
        {"request": {"method": "POST", "url": "Slot/$quiet"}},
        {"request": {"method": "GET", "url": "$need?name=c"}},
    ]
    answer = server.post("", {"resourceType": "Bundle", "type": "batch", "entry": entries}).get_json()["entry"]
    assert [e["response"]["status"][:3] for e in answer] == ["200", "200", "204", "405"]
    assert answer[1]["resource"]["comment"] == "b"


def test_an_operation_that_nothing_can_do_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"can do http://o/undone; there are functions for .*http://o/echo"):
        deploy(tmp_path, [UNDONE])
