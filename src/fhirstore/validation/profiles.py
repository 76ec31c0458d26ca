"""https://hl7.org/fhir/R4/profiling.html: whether a resource conforms to a profile.

`structure` checks R4 itself. This module checks what a profile adds: cardinality, types, fixed values, patterns,
bindings, slices, reference targets, extensions and invariants.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import copy
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import Issue, StartupError
from fhirstore.model.messages import Message
from fhirstore.terminology.service import Terminology
from fhirstore.validation.bundle_index import Resource
from fhirstore.validation.elements import compile_snapshot
from fhirstore.validation.extensions import check_extensions
from fhirstore.validation.issue_list import IssueList, RelativeIssue, merged
from fhirstore.validation.must_support import missing_must_support
from fhirstore.validation.nested import NestedResource
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.scope import ValidationScope
from fhirstore.validation.snapshot import Snapshot

_LABEL = re.compile(r" \[(?=[a-z])")
"""The start of the part of a message that names its rule."""

AdditionalCheck = Callable[[ProfileRepository, Resource, ValidationScope], IssueList | None]


class ProfileValidator:
    """Validates resources against the profiles of `catalog`. One per process; threads can share it.

    terminology: None for that of the catalog alone. text_only_severity: see `ProfileRepository`."""

    def __init__(self, catalog: Catalog, terminology: Terminology | None = None, *, text_only_severity: str = "error"):
        self._repository = ProfileRepository(catalog, compile_snapshot, text_only_severity)
        self._terminology = terminology or Terminology(catalog)
        self._valid: dict[str, bool] = {}

    def with_terminology(self, terminology: Terminology) -> ProfileValidator:
        """A validator with the same compiled rules and another terminology."""
        other = copy(self)
        other._terminology = terminology
        return other

    def knows(self, canonical: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is available. Types of R4 are profiles too."""
        return self._repository.known(canonical)

    def can_check(self, canonical: str) -> bool:
        """Whether the definition of a profile is available and valid."""
        valid = self._valid.get(canonical)
        if valid is None:
            if not self.knows(canonical):
                return False
            try:
                self._repository.rule(canonical)
                valid = True
            except (StartupError, RecursionError):
                valid = False
            self._valid[canonical] = valid
        return valid

    def compile(self, canonical: str) -> None:
        """Compiles a profile now instead of on first use. Raises StartupError if it is invalid."""
        self._repository.rule(canonical)

    def snapshot(self, canonical: str) -> Snapshot:
        """All elements of a profile. Raises StartupError if it is unavailable or invalid."""
        return self._repository.snapshot(canonical)

    def validate(self, resource: Any, profile: str, scope: ValidationScope | None = None) -> list[Issue]:
        """The issues of a resource (parsed JSON) with a profile.

        Issues of R4 itself come from `StructureValidator` and are not repeated. Extensions are checked against their
        own definitions. Expressions are exact (`Slot.serviceType[1].extension`). Diagnostics end with the rule, its
        element and its profile: `[min of Slot.end in http://…]`. An unavailable or invalid profile gives an error that
        names it. scope: the scope of the resource, if several profiles share it."""
        if type(resource) is not dict:
            return [Issue("error", "structure", Message("A resource must be a JSON object."), ("Resource",))]
        return self._validate(resource, profile, scope or self.scope(resource), _type_name(resource), check_extensions)

    def scope(self, resource: Resource) -> ValidationScope:
        """The scope of a resource that is not nested."""
        return ValidationScope(resource, self._terminology.current())

    def validate_nested(self, scope: ValidationScope, nested: NestedResource, profile: str) -> list[Issue]:
        """Like `validate`, for a resource nested in the resource of `scope`.

        Its extensions are checked with the outermost resource. A resource that is known to conform is not checked
        again."""
        if (id(nested.resource), profile) in scope.without_issues:
            return []
        root = _type_name(scope.resource) + nested.path
        for resource in (*nested.ancestors, nested.resource):
            scope = scope.for_resource(resource)
        return self._validate(nested.resource, profile, scope, root, _no_check)

    def _validate(
        self, resource: Resource, profile: str, scope: ValidationScope, root: str, additional: AdditionalCheck
    ) -> list[Issue]:
        """root: the FHIRPath of the resource."""
        if not self.knows(profile):
            text = Message(
                "The profile cannot be checked: {missing}.", missing=self._repository.snapshots.missing(profile)
            )
            return [Issue("error", "not-found", text, (root,))]
        try:
            constrained = self._repository.snapshot(profile).type
            if not self._repository.core.is_a(constrained, "Resource"):
                text = Message(
                    "{profile} constrains {constrained}, which is not a resource type.",
                    profile=profile,
                    constrained=constrained,
                )
                return [Issue("error", "invalid", text, (root,))]
            found = self._repository.rule(profile)(resource, scope)
            found = merged(found, additional(self._repository, resource, scope))
        except StartupError as e:
            return [Issue("error", "exception", Message("A definition is invalid: {reason}", reason=e), (root,))]
        except RecursionError:
            return [Issue("error", "too-costly", Message("The JSON is nested too deeply to be checked."), (root,))]
        if found is None:
            return []
        lists = (found.errors, found.warnings, found.information)
        return IssueList(*(_without_repetitions(issues, profile) for issues in lists)).to_issues(root)

    def must_support(self, resource: Any, profile: str) -> list[Issue]:
        """An information for each mustSupport element of the profile that the resource omits.

        Raises StartupError if the profile is unavailable or invalid."""
        root = str(resource.get("resourceType")) if type(resource) is dict else "Resource"
        return [
            Issue(
                "information",
                "informational",
                Message("{path}: absent [mustSupport of {id} in {profile}]", path=path, id=id, profile=profile),
                (path,),
            )
            for path, id in missing_must_support(self._repository.tree(profile), resource, root)
        ]


def _type_name(resource: Resource) -> str:
    return str(resource.get("resourceType", "Resource"))


def _no_check(repository: ProfileRepository, resource: Resource, scope: ValidationScope) -> None:
    return None


def _without_repetitions(issues: list[RelativeIssue], profile: str) -> list[RelativeIssue]:
    """The issues without those of rules that several definitions state. The message of the profile itself, and of the
    innermost slice, is kept."""
    if len(issues) < 2:
        return issues
    kept: dict[tuple[str, str, str], RelativeIssue] = {}
    ending = f" in {profile.partition('|')[0]}]"
    for issue in issues:
        key = (issue.code, issue.path, _LABEL.split(issue.text, maxsplit=1)[0])
        other = kept.get(key)
        if other is None or _rank(issue, ending) > _rank(other, ending):
            kept[key] = issue
    return list(kept.values())


def _rank(issue: RelativeIssue, ending: str) -> tuple[bool, int]:
    return ending in issue.text, len(issue.text)
