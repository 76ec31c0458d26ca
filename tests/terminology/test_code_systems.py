"""The hierarchy of a code system."""

from __future__ import annotations

from fhirstore.terminology.code_systems import CodeSystem


def test_a_code_with_very_many_parents_is_compiled() -> None:
    """Copying and searching the parents for each new one takes minutes."""
    parents = [{"code": "parent", "valueCode": f"p{n}"} for n in range(100_000)]
    system = CodeSystem({"url": "urn:s", "concept": [{"code": "c", "property": [*parents, *parents]}]})
    assert len(system.parents["c"]) == 100_000
    assert system.parents["c"][:2] == ("p0", "p1")
    assert system.children["p7"] == ["c"]


def test_a_code_is_not_its_own_parent() -> None:
    system = CodeSystem(
        {"url": "urn:s", "concept": [{"code": "c", "property": [{"code": "parent", "valueCode": "c"}]}]}
    )
    assert system.parents.get("c", ()) == ()
    assert "c" not in system.children
