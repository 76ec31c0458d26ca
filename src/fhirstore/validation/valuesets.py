"""https://hl7.org/fhir/R4/terminologies.html#binding: the value sets that profiles bind, from packages and from R4.

What cannot be decided, because a code system or a value set is not at hand, gives a warning that names it, never an
error. What is certain all the same is decided: a code of a system that no part of the value set names is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.expand import expand
from fhirstore.validation.findings import Findings, describe, listed, refuse, warn
from fhirstore.validation.scope import Rule, Scope

Verdict = bool | str
"""Whether a code is in a value set; a text says why that cannot be told."""
Test = Callable[[str | None, str], Verdict]

MAX_VALUE_SET = "http://hl7.org/fhir/StructureDefinition/elementdefinition-maxValueSet"
_CODED = frozenset({"code", "string", "uri", "url", "canonical", "id", "markdown", "oid"})
_QUANTITIES = frozenset({"Quantity", "Age", "Count", "Distance", "Duration", "SimpleQuantity", "MoneyQuantity"})


class ValueSets:
    """The compiled value sets of a catalog, made on first use and kept."""

    def __init__(self, catalog: Catalog):
        self._catalog = catalog
        self._tests: dict[str, tuple[Test, str]] = {}

    def test(self, canonical: str) -> Test:
        """(system or None for any, code) -> whether it is in the value set."""
        return self._of(canonical)[0]

    def wanted(self, canonical: str) -> str:
        """Some of its codes for a message; empty when they cannot be listed."""
        return self._of(canonical)[1]

    def _of(self, canonical: str) -> tuple[Test, str]:
        found = self._tests.get(canonical)
        if found is None:
            try:
                found = self._compile(canonical, ())
            except (KeyError, TypeError, AttributeError, ValueError, RecursionError, re.error) as e:
                found = _always(f"the value set {canonical} cannot be read: {e!r}"), ""
            self._tests[canonical] = found
        return found

    def _compile(self, canonical: str, inside: tuple[str, ...]) -> tuple[Test, str]:
        if canonical in inside:
            return _always(f"the value set {canonical} imports itself"), ""
        resource = self._value_set(canonical)
        if resource is None:
            return _always(f"the value set {canonical} is not at hand"), ""
        if "compose" not in resource:
            contains = resource.get("expansion", {}).get("contains")
            if not contains:
                return _always(f"the value set {canonical} says not what it holds"), ""
            return _enumerated(frozenset(_flat(contains)), frozenset())
        within = (*inside, canonical)
        compose = resource["compose"]
        pairs = expand(canonical, self._value_set, self.code_system)
        if pairs is not None:
            parts = (*compose.get("include", ()), *compose.get("exclude", ()))
            return _enumerated(pairs, frozenset(p["system"] for p in parts if self._folded(p.get("system"))))
        included = [self._part(part, within) for part in compose.get("include", ())]
        excluded = [self._part(part, within) for part in compose.get("exclude", ())]

        def test(system: str | None, code: str) -> Verdict:
            verdict = _any(t(system, code) for t in included)
            if verdict is False or not excluded:
                return verdict
            out = _any(t(system, code) for t in excluded)
            if out is True:
                return False
            return verdict if out is False else out

        return test, ""

    def _part(self, part: Mapping[str, Any], inside: tuple[str, ...]) -> Test:
        """One include or exclude: in its system *and* in all its value sets."""
        tests = [self._compile(url, inside)[0] for url in part.get("valueSet", ())]
        if "system" in part:
            tests.append(self._of_system(part))

        def test(system: str | None, code: str) -> Verdict:
            unsure: str | None = None
            for one in tests:
                verdict = one(system, code)
                if verdict is False:
                    return False
                if verdict is not True:
                    unsure = unsure or verdict
            return unsure or True

        return test

    def _of_system(self, part: Mapping[str, Any]) -> Test:
        url = part["system"]
        only = {k: v for k, v in part.items() if k != "valueSet"}
        pairs = expand("#", {"#": {"compose": {"include": [only]}}}.get, self.code_system)
        if pairs is not None:
            return _enumerated(pairs, frozenset({url} if self._folded(url) else ()))[0]
        resource = self.code_system(url)
        known = frozenset(_codes(resource.get("concept", ()))) if resource and "filter" not in part else frozenset()
        reason = f"the code system {url} is not at hand"
        if resource is not None:
            content = resource.get("content")
            reason = f"the code system {url} is at hand only as {content!r}, not complete"
            if content == "complete":
                reason = f"the code system {url} is at hand, but a filter on it cannot be applied"

        def test(system: str | None, code: str) -> Verdict:
            if system is not None and system != url:
                return False
            return True if code in known else reason

        return test

    def _value_set(self, canonical: str) -> Mapping[str, Any] | None:
        resource = self._catalog.resource("ValueSet", canonical)
        if resource is None:
            core = self._catalog.core
            resource = core.value_set(canonical.removesuffix("|" + core.version))
        return resource

    def code_system(self, canonical: str) -> Mapping[str, Any] | None:
        """The most complete code system of that canonical."""
        core = self._catalog.core
        url, _, version = canonical.partition("|")
        found = [
            r
            for package in self._catalog.packages
            for r in package.resources
            if r["resourceType"] == "CodeSystem" and r.get("url") == url and version in ("", r.get("version"))
        ]
        if (own := core.code_system(canonical.removesuffix("|" + core.version))) is not None:
            found.append(own)
        return next((r for r in found if r.get("content") == "complete"), found[0] if found else None)

    def _folded(self, system: str | None) -> bool:
        """Whether upper and lower case are the same in the codes of a system."""
        resource = self.code_system(system) if system else None
        return resource is not None and resource.get("caseSensitive") is False


def _always(verdict: Verdict) -> Test:
    return lambda system, code: verdict


def _any(verdicts: Any) -> Verdict:
    unsure: str | None = None
    for verdict in verdicts:
        if verdict is True:
            return True
        if verdict is not False:
            unsure = unsure or verdict
    return unsure or False


def _enumerated(pairs: frozenset[tuple[str, str]], folded: frozenset[str]) -> tuple[Test, str]:
    """The test of a list of (system, code). folded: systems whose codes ignore case."""
    codes = frozenset(code for _, code in pairs)
    loose = frozenset((s, c.casefold()) for s, c in pairs if s in folded)
    loose_codes = frozenset(c for _, c in loose)

    def test(system: str | None, code: str) -> Verdict:
        if system is None:
            return code in codes or code.casefold() in loose_codes
        return (system, code) in pairs or (system, code.casefold()) in loose

    systems = {s for s, _ in pairs}
    if len(systems) == 1:
        return test, f"{listed(codes)} of {systems.pop()}"
    return test, listed(f"{s}|{c}" for s, c in pairs)


def _codes(concepts: Any) -> list[str]:
    return [code for c in concepts for code in (c["code"], *_codes(c.get("concept", ())))]


def _flat(contains: Any) -> list[tuple[str, str]]:
    own = [(c.get("system", ""), c["code"]) for c in contains if "code" in c and not c.get("abstract")]
    return own + [pair for c in contains for pair in _flat(c.get("contains", ()))]


def coded(value: Any, type_code: str) -> list[tuple[str | None, str]] | None:
    """The (system, code) of a value; system None = any. None for a type that cannot be bound."""
    if type_code in _CODED:
        return [(None, value)] if type(value) is str else []
    if type_code == "CodeableConcept":
        codings = value.get("coding") if type(value) is dict else None
        items = codings if type(codings) is list else []
    elif type_code == "Coding" or type_code in _QUANTITIES:
        items = [value]
    else:
        return None
    return [
        (i["system"] if type(i.get("system")) is str else "", i["code"])
        for i in items
        if type(i) is dict and type(i.get("code")) is str
    ]


def matcher(value_sets: ValueSets, canonical: str, type_code: str) -> Callable[[Any], bool]:
    """Whether a value surely has a code of the value set; for slices that only a required binding tells apart."""
    test = value_sets.test(canonical)
    return lambda value: any(test(system, code) is True for system, code in coded(value, type_code) or ())


def binding_rules(
    value_sets: ValueSets, binding: Mapping[str, Any], type_code: str, label: str, uncoded: str
) -> list[Rule]:
    """The rules of an ElementDefinition.binding. uncoded: severity of text alone where a code is required."""
    rules: list[Rule] = []
    strength, canonical = binding.get("strength"), binding.get("valueSet")
    if canonical and strength in ("required", "extensible"):
        rules.append(_bound(value_sets, canonical, strength, type_code, label, uncoded))
    for extension in binding.get("extension", ()):
        if extension.get("url") == MAX_VALUE_SET:
            limit = extension.get("valueCanonical") or extension.get("valueUri")
            rules.append(_bound(value_sets, limit, "required", type_code, label, uncoded))
    return rules


def _bound(value_sets: ValueSets, canonical: str, strength: str, type_code: str, label: str, uncoded: str) -> Rule:
    test = value_sets.test(canonical)
    of_set = f"the {strength} value set {canonical}"
    rule = f"[binding of {label}]"

    def check(value: Any, scope: Scope) -> Findings | None:
        pairs = coded(value, type_code)
        if pairs is None:
            return None
        unsure: str | None = None
        for system, code in pairs:
            verdict = test(system, code)
            if verdict is True:
                return None
            if verdict is not False:
                unsure = unsure or verdict
        if unsure is not None:
            return warn("not-supported", f"not checked against {of_set}: {unsure} {rule}")
        wanted = value_sets.wanted(canonical)
        more = f"; wanted: {wanted}" if wanted else ""
        if not pairs:
            if strength == "extensible" or type(value) is not dict:
                return None
            text = f"there is no code, so none of {of_set}{more} {rule}"
            return refuse("code-invalid", text) if uncoded == "error" else warn("code-invalid", text)
        given = ", ".join(code if system is None else f"{system}|{code}" for system, code in pairs)
        text = f"{describe(given)} is not in {of_set}{more} {rule}"
        # the right code of the wrong system: the fault is in the system
        place = ".system" if type_code == "Coding" and test(None, pairs[0][1]) is True else ""
        return refuse("code-invalid", text, place) if strength == "required" else warn("code-invalid", text, place)

    return check
