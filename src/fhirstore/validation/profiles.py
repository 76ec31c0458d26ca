"""https://hl7.org/fhir/R4/profiling.html: whether a resource conforms to a profile.

What R4 itself demands is checked by `structure`; here stands what the profile adds: cardinality, types, fixed values,
patterns, bindings, slices, reference targets, extensions and invariants.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import Issue, StartupError
from fhirstore.terminology.service import Terminology
from fhirstore.validation.elements import compile_snapshot
from fhirstore.validation.extensions import check_extensions
from fhirstore.validation.findings import Findings, Problem
from fhirstore.validation.nested import NestedResource
from fhirstore.validation.scope import Resource, Rule, Scope
from fhirstore.validation.snapshot import CORE, Snapshot, Snapshots
from fhirstore.validation.support import unsupported
from fhirstore.validation.tree import Part, make_tree

_RULE = re.compile(r" \[(?=[a-z])")
"""Where a message begins to name its rule."""


Further = Callable[["ProfileRepository", Resource, Scope], Findings | None]


class ProfileRepository:
    """The profiles, data types and extensions of a catalog: their snapshots, trees and rules, made on first use.

    Threads may make the same one at once; the results are equal and the last one is kept.
    text_only_severity: severity (error or
    warning) of a concept that has text, but no code, where a value set is required."""

    def __init__(self, catalog: Catalog, text_only_severity: str = "error"):
        self.catalog = catalog
        self.core = catalog.core
        self.text_only_severity = text_only_severity
        self.snapshots = Snapshots(catalog)
        self._trees: dict[str, Part] = {}
        self._rules: dict[str, Rule] = {}
        self._known: dict[str, bool] = {}

    def known(self, canonical: str) -> bool:
        """Whether its definition is at hand."""
        found = self._known.get(canonical)
        if found is None:
            found = self.snapshots.known(canonical)
            if found:  # names that requests make up are not kept
                self._known[canonical] = found
        return found

    def of_r4(self, canonical: str) -> bool:
        """Whether R4 defines it, though its definition may not be at hand."""
        return self.catalog.has_structure(canonical)

    def is_core(self, canonical: str) -> bool:
        """Whether it is a type of R4 itself."""
        name = canonical.partition("|")[0].removeprefix(CORE)
        return canonical.startswith(CORE) and "/" not in name and self.core.node(name) is not None

    def type_of(self, canonical: str) -> str | None:
        """The type that a structure constrains; None when it is not at hand."""
        return self.snapshot(canonical).type if self.known(canonical) else None

    def snapshot(self, canonical: str) -> Snapshot:
        """See `Snapshots.of`."""
        return self.snapshots.of(canonical)

    def tree(self, canonical: str) -> Part:
        """The elements of a structure."""
        found = self._trees.get(canonical)
        if found is None:
            found = self._trees[canonical] = make_tree(self.snapshot(canonical))
        return found

    def rule(self, canonical: str) -> Rule:
        """The rule of a value of the structure's type. Raises StartupError where the definition is faulty."""
        found = self._rules.get(canonical)
        if found is None:
            snapshot = self.snapshot(canonical)
            try:
                found = compile_snapshot(self, snapshot, self.tree(canonical))
            except (KeyError, TypeError, AttributeError, ValueError) as e:
                raise StartupError(f"{snapshot.where}: the StructureDefinition cannot be read: {e!r}") from e
            self._rules[canonical] = found
        return found

    def conforms(self, resource: Resource, canonical: str, scope: Scope) -> bool:
        """Whether a resource, contained or in the same Bundle, keeps all rules of a profile.

        While it is being found out, for resources that refer to each other, it is taken for granted."""
        key = (id(resource), canonical)
        verdict = scope.verdicts.get(key)
        if verdict is None:
            scope.verdicts[key] = True
            found = self.rule(canonical)(resource, scope.around(resource))
            verdict = scope.verdicts[key] = found is None or not found.errors
        return verdict

    def first_fault(self, resource: Resource, canonical: str, scope: Scope) -> str:
        """The first fault of a resource that does not conform, for a message."""
        found = self.rule(canonical)(resource, scope.around(resource))
        if found is None or not found.errors:
            return ""
        first = found.errors[0]
        return f"{resource.get('resourceType')}{first.path}: {first.text}"


class ProfileValidator:
    """Checks resources against the profiles of `catalog`. One per process; threads may share it.

    terminology: None = that of the catalog alone."""

    def __init__(self, catalog: Catalog, terminology: Terminology | None = None, *, text_only_severity: str = "error"):
        self._structures = ProfileRepository(catalog, text_only_severity)
        self._terminology = terminology or Terminology(catalog)
        self._sound: dict[str, bool] = {}

    def over(self, terminology: Terminology) -> ProfileValidator:
        """The same rules, already compiled, over another terminology."""
        other = copy(self)
        other._terminology = terminology
        return other

    def knows(self, canonical: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is at hand; a type of R4 is one too."""
        return self._structures.known(canonical)

    def can_check(self, canonical: str) -> bool:
        """Whether a profile is at hand and its definition sound."""
        sound = self._sound.get(canonical)
        if sound is None:
            if not self.knows(canonical):
                return False
            try:
                self._structures.rule(canonical)
                sound = True
            except (StartupError, RecursionError):
                sound = False
            self._sound[canonical] = sound
        return sound

    def compile(self, canonical: str) -> None:
        """Make the rules of a profile now instead of on first use. Raises StartupError where it is faulty."""
        self._structures.rule(canonical)

    def snapshot(self, canonical: str) -> Snapshot:
        """All elements of a profile. Raises StartupError where it is not at hand or faulty."""
        return self._structures.snapshot(canonical)

    def validate(self, resource: Any, profile: str, scope: Scope | None = None) -> list[Issue]:
        """The issues of a resource, given as parsed JSON, with a profile; an empty list when all is well.

        `structure.Validator` must have its say too: what R4 itself demands is not repeated here. Extensions are checked
        by their own definitions. The expressions are exact (`Slot.serviceType[1].extension`); the diagnostics end with
        the rule, its element and its profile: `[min of Slot.end in http://…]`. A profile that is not at hand, or that
        is faulty itself, gives an error that names it. scope: of the resource, where several profiles share it."""
        if type(resource) is not dict:
            return [Issue("error", "structure", "A resource is wanted, a JSON object.", ("Resource",))]
        return self._judge(resource, profile, scope or self.scope(resource), _name(resource), check_extensions)

    def scope(self, outermost: Resource) -> Scope:
        """The scope of a resource that stands by itself, for `validate_within`."""
        return Scope(outermost, self._terminology.current())

    def validate_within(self, scope: Scope, within: NestedResource, profile: str) -> list[Issue]:
        """Like `validate`, for a resource inside of the one that the scope is of; its extensions are checked with the
        outermost resource. What has been found to conform in this scope is not looked at again."""
        if (id(within.resource), profile) in scope.clean:
            return []
        where = _name(scope.resource) + within.place
        for resource in (*within.around, within.resource):
            scope = scope.inner(resource)
        return self._judge(within.resource, profile, scope, where, _no_more)

    def _judge(self, resource: Resource, profile: str, scope: Scope, root: str, further: Further) -> list[Issue]:
        """root: FHIRPath of the resource. further: what is checked beside the profile."""
        if not self.knows(profile):
            text = f"The profile cannot be checked: {self._structures.snapshots.missing(profile)}."
            return [Issue("error", "not-found", text, (root,))]
        try:
            constrained = self._structures.snapshot(profile).type
            if not self._structures.core.is_a(constrained, "Resource"):
                text = f"{profile} is about {constrained}, which is no resource; nothing conforms to it as a whole."
                return [Issue("error", "invalid", text, (root,))]
            found = self._structures.rule(profile)(resource, scope)
            more = further(self._structures, resource, scope)
        except StartupError as e:
            return [Issue("error", "exception", f"A definition is faulty: {e}", (root,))]
        except RecursionError:
            return [Issue("error", "too-costly", "The JSON is nested too deeply to be checked.", (root,))]
        if found is None and more is None:
            return []
        whole = found or Findings()
        if more is not None:
            whole.absorb(more, "")
        told = (_once(problems, profile) for problems in (whole.errors, whole.warnings, whole.notes))
        return Findings(*told).issues(root)

    def must_support(self, resource: Any, profile: str) -> list[Issue]:
        """An information for each element that the profile marks as mustSupport and that the resource leaves out.

        Raises StartupError where the profile is not at hand or faulty."""
        root = str(resource.get("resourceType")) if type(resource) is dict else "Resource"
        return [
            Issue("information", "informational", f"{place}: absent [mustSupport of {id} in {profile}]", (place,))
            for place, id in unsupported(self._structures.tree(profile), resource, root)
        ]


def _name(resource: Resource) -> str:
    return str(resource.get("resourceType", "Resource"))


def _no_more(structures: ProfileRepository, resource: Resource, scope: Scope) -> None:
    return None


def _once(problems: list[Problem], profile: str) -> list[Problem]:
    """Without the repetitions of rules that several definitions state: the message that stays is the one of the
    profile itself, and of the innermost slice."""
    if len(problems) < 2:
        return problems
    kept: dict[tuple[str, str, str], Problem] = {}
    ending = f" in {profile.partition('|')[0]}]"
    for problem in problems:
        key = (problem.code, problem.path, _RULE.split(problem.text, maxsplit=1)[0])
        other = kept.get(key)
        if other is None or _rank(problem, ending) > _rank(other, ending):
            kept[key] = problem
    return list(kept.values())


def _rank(problem: Problem, ending: str) -> tuple[bool, int]:
    return ending in problem.text, len(problem.text)
