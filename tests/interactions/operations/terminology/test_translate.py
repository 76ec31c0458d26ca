"""https://hl7.org/fhir/R4/conceptmap-operation-translate.html, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.animals import S, V, out
from support.api import Api

Json = dict[str, Any]
Call = Callable[..., Json]
Refused = Callable[..., tuple[int, str, str]]
TRANSLATE = "ConceptMap/$translate"
URL, T = "http://example.org/ConceptMap/animals", "http://example.org/latin"

MAP: Json = {
    "resourceType": "ConceptMap",
    "url": URL,
    "version": "1",
    "status": "active",
    "sourceCanonical": V + "whole",
    "targetUri": V + "latin",
    "group": [
        {
            "source": S,
            "target": T,
            "element": [
                {"code": "cat", "target": [{"code": "felis", "display": "Felis", "equivalence": "wider"}]},
                {"code": "yeti"},
                {
                    "code": "duck",
                    "target": [
                        {
                            "code": "anas",
                            "equivalence": "equivalent",
                            "dependsOn": [{"property": "http://sex", "system": "http://s", "value": "f"}],
                            "product": [{"property": "http://egg", "system": "http://e", "value": "yes"}],
                        }
                    ],
                },
            ],
        }
    ],
}


def with_unmapped(**unmapped: Any) -> Json:
    return MAP | {"group": [MAP["group"][0] | {"unmapped": unmapped}]}


@pytest.fixture(autouse=True)
def concept_map(api: Api) -> None:
    api.created(MAP)


def test_a_code_is_translated(call: Call) -> None:
    found = out(call(TRANSLATE, url=URL, system=S, code="cat"))
    concept = {"system": T, "code": "felis", "display": "Felis"}
    assert found == {"result": True, "match": [{"equivalence": "wider", "concept": concept, "source": URL}]}


@pytest.mark.parametrize(
    "where",
    [{"source": V + "whole"}, {"target": V + "latin"}, {"targetsystem": T}, {"url": URL, "conceptMapVersion": "1"}],
)
def test_the_map_is_found_by_what_it_goes_from_and_to(call: Call, where: Json) -> None:
    assert out(call(TRANSLATE, system=S, code="cat", **where))["result"] is True


def test_other_value_sets_and_systems_have_no_map(call: Call) -> None:
    for where in ({"source": V + "other"}, {"target": V + "other"}, {"targetsystem": "http://other"}):
        found = out(call(TRANSLATE, system=S, code="cat", **where))
        assert found == {"result": False, "message": f"No available concept map translates {S}|cat."}


def test_backwards(call: Call) -> None:
    found = out(call(TRANSLATE, url=URL, system=T, code="felis", reverse=True))
    assert found["match"] == [{"equivalence": "narrower", "concept": {"system": S, "code": "cat"}, "source": URL}]
    assert out(call(TRANSLATE, target=V + "whole", system=T, code="felis", reverse=True))["result"] is True
    assert out(call(TRANSLATE, url=URL, system=S, code="cat", reverse=True))["result"] is False


def test_a_code_that_has_no_match_says_so(call: Call) -> None:
    found = out(call(TRANSLATE, url=URL, system=S, code="yeti"))
    assert found["result"] is False
    assert found["match"] == [{"equivalence": "unmatched", "source": URL}]


def test_what_a_mapping_depends_on_must_be_given(call: Call) -> None:
    assert out(call(TRANSLATE, url=URL, system=S, code="duck"))["result"] is False
    sex = [
        {"name": "element", "valueUri": "http://sex"},
        {"name": "concept", "valueCodeableConcept": {"coding": [{"system": "http://s", "code": "f"}]}},
    ]
    found = out(call(TRANSLATE, url=URL, system=S, code="duck", dependency={"part": sex}))
    (match,) = found["match"]
    assert match["concept"] == {"system": T, "code": "anas"}
    assert match["product"] == [{"element": "http://egg", "concept": {"system": "http://e", "code": "yes"}}]


def test_a_coding_a_concept_and_a_map_that_is_given(call: Call) -> None:
    assert out(call(TRANSLATE, url=URL, coding={"system": S, "code": "cat"}))["result"] is True
    concept = {"coding": [{"system": "http://x", "code": "cat"}, {"system": S, "code": "cat"}]}
    assert out(call(TRANSLATE, url=URL, codeableConcept=concept))["result"] is True
    assert out(call(TRANSLATE, conceptMap=MAP, system=S, code="cat"))["result"] is True


def test_the_instance_level(call: Call, api: Api) -> None:
    id = api.created(MAP | {"url": "http://again"})["id"]
    assert out(call(f"ConceptMap/{id}/$translate", system=S, code="cat"))["match"][0]["source"] == "http://again"


def test_what_is_not_mapped_goes_as_the_map_says(call: Call, api: Api) -> None:
    def unmapped(asked: str, **rule: Any) -> Json:
        (match,) = out(call(TRANSLATE, conceptMap=with_unmapped(**rule), system=S, code=asked))["match"]
        return match["concept"] | {"equivalence": match["equivalence"]}

    assert unmapped("new", mode="provided") == {"system": T, "code": "new", "equivalence": "equal"}
    fixed = unmapped("new", mode="fixed", code="animal", display="Animal")
    assert fixed == {"system": T, "code": "animal", "display": "Animal", "equivalence": "inexact"}
    assert unmapped("cat", mode="fixed", code="animal")["code"] == "felis"
    other = MAP | {"url": "http://other-map"}
    other["group"] = [
        MAP["group"][0] | {"element": [{"code": "new", "target": [{"code": "n", "equivalence": "equal"}]}]}
    ]
    api.created(other)
    assert unmapped("new", mode="other-map", url="http://other-map")["code"] == "n"


def test_maps_that_refer_to_each_other_for_ever_are_refused(api: Api, refused: Refused) -> None:
    api.created(with_unmapped(mode="other-map", url="http://b") | {"url": "http://a"})
    api.created(with_unmapped(mode="other-map", url="http://a") | {"url": "http://b"})
    status, _, text = refused(TRANSLATE, url="http://a", system=S, code="new")
    assert status == 422
    assert "refers to itself" in text


def test_the_maps_of_r4(call: Call) -> None:
    gender = "http://hl7.org/fhir/administrative-gender"
    url = "http://hl7.org/fhir/ConceptMap/cm-administrative-gender-v3"
    found = out(call(TRANSLATE, url=url, system=gender, code="male"))
    assert found["match"][0]["concept"]["code"] == "M"


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"system": S, "code": "cat"}, 400),
        ({"url": URL, "code": "cat"}, 400),
        ({"url": URL, "system": S}, 400),
        ({"url": "http://none", "system": S, "code": "cat"}, 404),
    ],
)
def test_what_cannot_be_translated(refused: Refused, parameters: Json, status: int) -> None:
    assert refused(TRANSLATE, **parameters)[0] == status
