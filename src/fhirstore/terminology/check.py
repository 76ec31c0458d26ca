"""$validate-code: https://hl7.org/fhir/R4/valueset-operation-validate-code.html and
https://hl7.org/fhir/R4/codesystem-operation-validate-code.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fhirstore.terminology.display import display_in, same_display
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.terminology.members import Members
from fhirstore.terminology.model import Coded, Unresolved
from fhirstore.terminology.systems import System
from fhirstore.terminology.view import View


@dataclass(frozen=True, slots=True)
class Asked:
    """A code with the display that goes with it; None = not given."""

    coded: Coded
    display: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The out parameters of $validate-code."""

    result: bool
    message: str | None = None
    display: str | None = None

    def to_json(self) -> dict[str, object]:
        out = {"result": self.result, "message": self.message, "display": self.display}
        return {key: value for key, value in out.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Rules:
    """abstract: whether codes that only group others are right; None = that does not matter. language: of displays."""

    abstract: bool | None = None
    language: str | None = None


def check_in_set(view: View, members: Members, asked: Sequence[Asked], rules: Rules) -> Checked:
    """Whether one of the codes is in the value set. Raises Unresolved where that cannot be told."""
    unsure: str | None = None
    faults: list[Checked] = []
    for one in asked:
        verdict = members.test(one.coded.system, one.coded.code)
        if verdict is True:
            home = _home(view, members, one.coded)
            found = _described(home, one, rules)
            if found.result:
                return found
            faults.append(found)
        elif verdict is False:
            faults.append(Checked(False, f"{_shown(one.coded)} is not in the value set {members.url}"))
        else:
            unsure = unsure or verdict
    if unsure is not None:
        raise Unresolved(f"whether {_all(asked)} is in the value set {members.url} cannot be told: {unsure}")
    return _worst(faults, f"there is no code to look for in the value set {members.url}")


def check_in_system(system: System, asked: Sequence[Asked], rules: Rules) -> Checked:
    """Whether one of the codes is in the code system. Raises Unresolved where that cannot be told."""
    faults: list[Checked] = []
    unsure = False
    for one in asked:
        if one.coded.system not in (None, system.url):
            faults.append(Checked(False, f"{_shown(one.coded)} is not of the code system {system.url}"))
        elif system.find(one.coded.code) is not None:
            found = _described(system, one, rules)
            if found.result:
                return found
            faults.append(found)
        elif system.is_complete:
            faults.append(Checked(False, f"the code system {system.canonical} has no code {one.coded.code!r}"))
        else:
            unsure = True
    if unsure:
        text = f"the code system {system.url} is at hand only as {system.content!r}, so {_all(asked)} may be one of it"
        raise Unresolved(text, "incomplete")
    return _worst(faults, f"there is no code to look for in the code system {system.url}")


def check_by_grammar(url: str, asked: Sequence[Asked]) -> Checked:
    """Whether one of the codes is well-formed in a system that has a grammar."""
    fits = GRAMMARS[url]
    if any(one.coded.system in (None, url) and fits(one.coded.code) for one in asked):
        return Checked(True)
    return Checked(False, f"{_all(asked)} is not written as {url} wants it")


def _home(view: View, members: Members, coded: Coded) -> System | None:
    """The code system of a code that is in the value set."""
    if coded.system is None:
        try:
            return next((e.home for e in members.entries() if e.code == coded.code), None)
        except Unresolved:
            return None
    canonical = f"{coded.system}|{coded.version}" if coded.version else coded.system
    return view.system(canonical) or view.system(coded.system)


def _described(home: System | None, asked: Asked, rules: Rules) -> Checked:
    """The answer for a code that is in: its display is checked, and whether it may be used."""
    concept = home.find(asked.coded.code) if home is not None else None
    if home is None or concept is None:
        return Checked(True)
    if asked.coded.version and home.version and asked.coded.version != home.version:
        return Checked(False, f"version {asked.coded.version} of {home.url} is not at hand ({home.version} is)")
    display = display_in(concept.display, concept.designation, rules.language)
    if rules.abstract is False and home.is_abstract(concept):
        return Checked(False, f"{_shown(asked.coded)} is abstract: it groups other codes and is none itself", display)
    if asked.display is None:
        return Checked(True, None, display)
    known = [concept.display, *(d.value for d in concept.designation)]
    if not any(known) or same_display(asked.display, known):
        return Checked(True, None, display)
    right = ", ".join(repr(text) for text in dict.fromkeys(known) if text)
    return Checked(False, f"the display {asked.display!r} of {_shown(asked.coded)} is wrong; right: {right}", display)


def _worst(faults: Iterable[Checked], otherwise: str) -> Checked:
    found = list(faults)
    if not found:
        return Checked(False, otherwise)
    message = "; ".join(dict.fromkeys(f.message for f in found if f.message))
    return Checked(False, message, next((f.display for f in found if f.display), None))


def _shown(coded: Coded) -> str:
    return f"the code {coded.code!r}" if not coded.system else f"the code {coded.system}|{coded.code}"


def _all(asked: Sequence[Asked]) -> str:
    return ", ".join(_shown(one.coded) for one in asked) or "nothing"
