"""Conditions on one resource, against the naive model of the store's contract."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhirstore.model.conditions import (
    MATCH_ALL,
    MATCH_NONE,
    And,
    Chain,
    Condition,
    Date,
    LastUpdated,
    Not,
    Or,
    Present,
    Reference,
    ReverseChain,
    String,
    Token,
    Uri,
)
from fhirstore.model.matching import depends_on_others, exact_values, parameters, satisfies


def load_naive() -> ModuleType:
    spec = importlib.util.spec_from_file_location("naive", Path(__file__).parents[1] / "contract" / "naive.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules.setdefault("naive", made)
    spec.loader.exec_module(made)
    return made


naive = load_naive()


def combined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, max_size=3).map(tuple)
    return st.builds(And, parts) | st.builds(Or, parts) | st.builds(Not, inner)


conditions = st.recursive(naive.leaves, combined, max_leaves=6)


def resource(seed: int) -> tuple[str, dict[str, list[tuple[object, ...]]]]:
    rng = random.Random(seed)
    return rng.choice(naive.IDS), {c: naive.random_entries(rng, c) for c in naive.KINDS if rng.random() < 0.7}


@settings(max_examples=600, deadline=None)
@given(conditions, st.integers(0, 10_000))
def test_a_condition_means_the_same_as_in_a_store(where: Condition, seed: int) -> None:
    id, entries = resource(seed)
    world = naive.World({("Thing", id): entries})
    assert satisfies(where, id, entries) == world.holds(("Thing", id), where)


@settings(max_examples=600, deadline=None)
@given(conditions, st.integers(0, 10_000))
def test_a_match_has_one_of_the_exact_values_and_only_the_parameters_count(where: Condition, seed: int) -> None:
    id, entries = resource(seed)
    assert satisfies(where, id, {c: entries[c] for c in entries.keys() & parameters(where)}) == satisfies(
        where, id, entries
    )
    pairs = list(exact_values(where))
    if pairs and satisfies(where, id, entries):
        assert any(value in entry for param, value in pairs for entry in entries.get(param, ()))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Token("a", "s", "c"), [("a", "c")]),
        (Token("a", "s", None), []),
        (And((Present("b"), Token("a", None, "c"))), [("a", "c")]),
        (Or((Token("a", "s", "c"), Uri("u", "x"))), [("a", "c"), ("u", "x")]),
        (Or((Token("a", "s", "c"), Present("b"))), []),
        (Not(Token("a", "s", "c")), []),
        (Reference("r", ("A/1", "A/2")), [("r", "A/1"), ("r", "A/2")]),
        (String("n", "exact", "x"), [("n", "x")]),
        (String("n", "prefix", "x"), []),
        (MATCH_ALL, []),
        (MATCH_NONE, []),
    ],
)
def test_the_exact_values_of_a_condition(where: Condition, expected: list[tuple[str, str]]) -> None:
    assert list(exact_values(where)) == expected


@pytest.mark.parametrize(
    "where", [Chain("r", "A", MATCH_ALL), ReverseChain("A", "r", MATCH_ALL), LastUpdated(1), Not(LastUpdated(1))]
)
def test_conditions_on_other_resources_cannot_be_evaluated(where: Condition) -> None:
    assert depends_on_others(where)
    assert depends_on_others(And((Date("d"), Or((where,)))))
    with pytest.raises(TypeError):
        satisfies(where, "1", {})
