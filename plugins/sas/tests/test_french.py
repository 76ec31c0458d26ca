"""The French texts of the plugin's issues, as the catalogue has them."""

from __future__ import annotations

from pathlib import Path

import fhirstore_sas
from fhirstore_sas.check import english, french
from fhirstore_sas.rules.duties import DUTIES

CATALOGUE = Path(fhirstore_sas.__file__).with_name("fr.txt")


def pairs() -> dict[str, str]:
    lines = [line for line in CATALOGUE.read_text("utf-8").splitlines() if line[:2] in ("> ", "< ")]
    assert [line[0] for line in lines] == [">", "<"] * (len(lines) // 2)
    return {one[2:]: other[2:] for one, other in zip(lines[::2], lines[1::2], strict=True)}


def test_the_rules_on_writes_are_there_in_the_words_of_the_check() -> None:
    known = pairs()
    for rule in {duty.rule for duties in DUTIES.values() for duty in duties} | {"reference-resolves"}:
        (what, remedy), (quoi, remede) = english.RULES[rule], french.RULES[rule]
        assert known[f"{what} ({{0}}). {remedy}"] == f"{quoi} ({{0}}). {remede}", rule
        assert known[f"{what}. {remedy}"] == f"{quoi}. {remede}", rule
