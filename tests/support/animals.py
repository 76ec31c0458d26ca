"""A code system with everything, value sets of it, a concept map."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

S = "http://example.org/animals"
V = "http://example.org/ValueSet/"
FR = {"language": "fr", "value": "chat"}
LATIN = {"use": {"system": "http://example.org/use", "code": "latin"}, "value": "Felis catus"}

ANIMALS: Json = {
    "resourceType": "CodeSystem",
    "url": S,
    "version": "1.0",
    "name": "Animals",
    "status": "active",
    "content": "complete",
    "property": [
        {"code": "legs", "description": "How many legs", "type": "integer"},
        {"code": "notSelectable", "uri": "http://hl7.org/fhir/concept-properties#notSelectable", "type": "boolean"},
        {"code": "gone", "uri": "http://hl7.org/fhir/concept-properties#inactive", "type": "boolean"},
    ],
    "concept": [
        {
            "code": "mammal",
            "display": "Mammal",
            "property": [{"code": "notSelectable", "valueBoolean": True}],
            "concept": [
                {
                    "code": "cat",
                    "display": "Cat",
                    "definition": "A cat.",
                    "designation": [FR, LATIN],
                    "property": [{"code": "legs", "valueInteger": 4}],
                    "concept": [{"code": "lynx", "display": "Lynx"}],
                },
                {"code": "dodo", "display": "Dodo", "property": [{"code": "gone", "valueBoolean": True}]},
            ],
        },
        {"code": "duck", "display": "Éider", "property": [{"code": "legs", "valueInteger": 2}]},
    ],
}


def value_set(name: str, *include: Json, exclude: tuple[Json, ...] = (), **more: Any) -> Json:
    compose: Json = {"include": list(include)} | ({"exclude": list(exclude)} if exclude else {})
    return {"resourceType": "ValueSet", "url": V + name, "status": "active", "compose": compose, **more}


WHOLE = value_set("whole", {"system": S}, description="All of them")


def codes(value_set: Json) -> list[str]:
    """The codes of an expansion, nested ones in parentheses behind theirs: ["a", "(", "b", ")"]."""
    out: list[str] = []

    def walk(contains: list[Json]) -> None:
        for item in contains:
            out.append(item["code"])
            if "contains" in item:
                out.append("(")
                walk(item["contains"])
                out.append(")")

    walk(value_set["expansion"].get("contains", []))
    return out


def out(parameters: Json) -> Json:
    """Parameters as a dict: plain values, lists for those with parts."""
    found: Json = {}
    for one in parameters["parameter"]:
        if "part" in one:
            found.setdefault(one["name"], []).append(out({"parameter": one["part"]}))
        else:
            found[one["name"]] = next(v for k, v in one.items() if k != "name")
    return found
