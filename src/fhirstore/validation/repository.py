"""The profiles, data types and extensions of a catalog."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import StartupError
from fhirstore.model.messages import Message
from fhirstore.validation.bundle_index import Resource
from fhirstore.validation.rules import Rule, ValidationScope
from fhirstore.validation.snapshot import CORE, Snapshot, Snapshots
from fhirstore.validation.stored_structures import UsedStructures
from fhirstore.validation.tree import ElementNode, build_tree
from fhirstore.validation.value_rules import codings_of

Compile = Callable[["ProfileRepository", Snapshot, ElementNode], Rule]
"""Compiles the rule of a structure: `elements.compile_snapshot`."""


class ProfileRepository:
    """The snapshots, trees and rules of the structures of a catalog, made on first use and kept.

    Threads can make the same one at the same time: the results are equal, and the last one is kept.
    compile: compiles the rule of a structure. text_only_severity: error | warning, the severity of a concept that has
    only text where a code of a value set is required. stored: structures in addition to those of the catalog."""

    def __init__(
        self,
        catalog: Catalog,
        compile: Compile,
        text_only_severity: str = "error",
        stored: UsedStructures | None = None,
    ):
        self.catalog = catalog
        self.core = catalog.core
        self.text_only_severity = text_only_severity
        self.snapshots = Snapshots(catalog, stored)
        self._compile = compile
        self._trees: dict[str, ElementNode] = {}
        self._rules: dict[str, Rule] = {}
        self._known: dict[str, bool] = {}

    def known(self, canonical: str) -> bool:
        """Whether the definition of a structure is available."""
        found = self._known.get(canonical)
        if found is None:
            found = self.snapshots.known(canonical)
            if found:  # unknown names are not kept, because clients can send any number of them
                self._known[canonical] = found
        return found

    def is_r4(self, canonical: str) -> bool:
        """Whether R4 defines the structure. Its definition may be unavailable."""
        return self.catalog.has_structure(canonical)

    def is_core(self, canonical: str) -> bool:
        """Whether the structure is a type of R4."""
        name = canonical.partition("|")[0].removeprefix(CORE)
        return canonical.startswith(CORE) and "/" not in name and self.core.node(name) is not None

    def type_of(self, canonical: str) -> str | None:
        """The type that a structure constrains. None if its definition is unavailable."""
        return self.snapshot(canonical).type if self.known(canonical) else None

    def snapshot(self, canonical: str) -> Snapshot:
        """See `Snapshots.of`."""
        return self.snapshots.of(canonical)

    def tree(self, canonical: str) -> ElementNode:
        """The elements of a structure."""
        found = self._trees.get(canonical)
        if found is None:
            found = self._trees[canonical] = build_tree(self.snapshot(canonical))
        return found

    def rule(self, canonical: str) -> Rule:
        """The rule of a value of the structure's type. Raises StartupError for an invalid definition."""
        found = self._rules.get(canonical)
        if found is None:
            snapshot = self.snapshot(canonical)
            try:
                found = self._compile(self, snapshot, self.tree(canonical))
            except (KeyError, TypeError, AttributeError, ValueError) as e:
                raise StartupError(f"{snapshot.where}: the StructureDefinition cannot be read: {e!r}") from e
            self._rules[canonical] = found
        return found

    def conforms(self, resource: Resource, canonical: str, scope: ValidationScope) -> bool:
        """Whether a resource, contained or in the same Bundle, conforms to a profile.

        Resources can refer to each other: a resource counts as conformant while its conformance is being computed."""
        key = (id(resource), canonical)
        verdict = scope.verdicts.get(key)
        if verdict is None:
            scope.verdicts[key] = True
            found = self.rule(canonical)(resource, scope.for_value(resource))
            verdict = scope.verdicts[key] = found is None or not found.errors
        return verdict

    def first_error(self, resource: Resource, canonical: str, scope: ValidationScope) -> str:
        """The first error of a resource that does not conform, for a message."""
        found = self.rule(canonical)(resource, scope.for_value(resource))
        if found is None or not found.errors:
            return ""
        first = found.errors[0]
        path = f"{resource.get('resourceType')}{first.path}"
        return Message("{place}: {problem}", place=path, problem=first.labelled())


class ProfileServices:
    """The services of invariants (`fhirpath.services.Services`): references, terminology and profiles of a scope."""

    __slots__ = ("_repository", "_scope")

    def __init__(self, repository: ProfileRepository, scope: ValidationScope):
        self._repository, self._scope = repository, scope

    def resolve(self, reference: Any) -> Resource | None:
        return self._scope.resolve(reference)

    def member_of(self, value: Any, value_set: str) -> bool:
        kind = "string" if type(value) is not dict else "CodeableConcept" if "coding" in value else "Coding"
        test = self._scope.terminology.value_set(value_set).membership
        verdicts = [test(system, code) for system, code in codings_of(value, kind) or []]
        undecided = [v for v in verdicts if isinstance(v, str)]
        if undecided and True not in verdicts:
            raise ValueError(undecided[0])
        return True in verdicts

    def conforms_to(self, value: Any, profile: str) -> bool:
        return self._repository.conforms(value, profile, self._scope) if type(value) is dict else False
