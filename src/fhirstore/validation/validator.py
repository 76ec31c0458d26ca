"""https://hl7.org/fhir/R4/validation.html: validation of a resource against R4 and against profiles.

Writes, `$validate` and `fhirstore validate` use it. The caller decides which profiles apply, and how strictly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import Issue, StartupError
from fhirstore.model.messages import Message
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.terminology.service import Terminology
from fhirstore.validation.bundle_index import Resource
from fhirstore.validation.codings import check_codings
from fhirstore.validation.elements import compile_snapshot
from fhirstore.validation.extensions import ExtensionChecks, Occurrences
from fhirstore.validation.issue_list import IssueList, merged, without_repetitions
from fhirstore.validation.must_support import missing_must_support
from fhirstore.validation.nested import NestedResource
from fhirstore.validation.repository import ProfileRepository
from fhirstore.validation.rules import Rule, ValidationScope
from fhirstore.validation.snapshot import CORE, Snapshot
from fhirstore.validation.stored_structures import StructureSource, UsedStructures
from fhirstore.validation.structure import StructureValidator

log = logging.getLogger(__name__)

POLICIES = ("off", "warn", "enforce")
"""From the most lenient to the strictest."""

NestedRequirements = tuple[NestedResource, Sequence[ProfileRequirement]]
"""A nested resource and the profiles that it is validated against."""

_Scopes = Mapping[str, ValidationScope]
"""By text_only_severity."""


class _UncheckedProfile(Exception):
    """A profile that no resource can be validated against. code: of the issue."""

    def __init__(self, code: str, text: str):
        super().__init__(text)
        self.code, self.text = code, text


class ProfileValidator:
    """Validates resources against the profiles of `catalog`. One per process; threads can share it.

    terminology: None for that of the catalog alone. text_only_severity, stored: see `ProfileRepository`."""

    def __init__(
        self,
        catalog: Catalog,
        terminology: Terminology | None = None,
        *,
        text_only_severity: str = "error",
        stored: UsedStructures | None = None,
    ):
        self._repository = ProfileRepository(catalog, compile_snapshot, text_only_severity, stored)
        self._extensions = ExtensionChecks(self._repository)
        self._terminology = terminology or Terminology(catalog)
        self._rules: dict[str, Rule] = {}
        self._valid: dict[str, bool] = {}

    def with_terminology(self, terminology: Terminology) -> ProfileValidator:
        """A validator with the same compiled rules and another terminology."""
        other = copy(self)
        other._terminology = terminology
        return other

    def knows(self, canonical: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is available. Types of R4 are profiles too."""
        return canonical in self._rules or self._repository.known(canonical)

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
        root, own_scope = _type_name(resource), scope or self.scope(resource)

        def check() -> IssueList | None:
            rule = self._rules.get(profile) or self._resource_rule(profile)
            found = rule(resource, own_scope)
            part = self._occurrences(Occurrences.of(resource), resource, own_scope)
            return found if part is None else merged(found, part)

        return self._report(check, profile, root)

    def validate_nested(self, scope: ValidationScope, nested: NestedResource, profile: str) -> list[Issue]:
        """Like `validate`, for a resource nested in the resource of `scope`.

        Its extensions are checked with the outermost resource. A resource that is known to conform is not checked
        again."""
        if (id(nested.resource), profile) in scope.without_issues:
            return []
        root = _type_name(scope.resource) + nested.path
        for resource in (*nested.ancestors, nested.resource):
            scope = scope.for_resource(resource)
        own_scope = scope

        def check() -> IssueList | None:
            return (self._rules.get(profile) or self._resource_rule(profile))(nested.resource, own_scope)

        return self._report(check, profile, root)

    def validate_occurrences(self, resource: Any) -> list[Issue]:
        """The issues of the extensions of a resource (parsed JSON) with their own definitions, and of its codings."""
        name = _type_name(resource)

        def check() -> IssueList | None:
            found = Occurrences.of(resource)
            return self._occurrences(found, resource, self.scope(resource)) if any(found) else None

        return self._report(check, CORE + name, name)

    def _occurrences(self, found: Occurrences, resource: Resource, scope: ValidationScope) -> IssueList | None:
        part = self._extensions.check(found.extensions, resource, scope) if found.extensions else None
        supplements = scope.terminology.supplements() if found.codings else None
        if supplements is not None:
            part = merged(part, check_codings(self._repository.core, found.codings, resource, supplements))
        return part

    def scope(self, resource: Resource) -> ValidationScope:
        """The scope of a resource that is not nested."""
        return ValidationScope(resource, self._terminology.current())

    def _report(self, check: Callable[[], IssueList | None], profile: str, root: str) -> list[Issue]:
        """The issues that a check finds. root: the FHIRPath of the resource."""
        try:
            found = check()
        except _UncheckedProfile as e:
            return [Issue("error", e.code, e.text, (root,))]
        except StartupError as e:
            return [Issue("error", "exception", Message("A definition is invalid: {reason}", reason=e), (root,))]
        except RecursionError:
            return [Issue("error", "too-costly", Message("The JSON is nested too deeply to be checked."), (root,))]
        return [] if found is None else without_repetitions(found, profile).to_issues(root)

    def _resource_rule(self, profile: str) -> Rule:
        """The rule of a profile on a resource, which is kept. Raises _UncheckedProfile if there is no such profile,
        and StartupError if it is invalid."""
        if not self._repository.known(profile):
            missing = self._repository.snapshots.missing(profile)
            text = Message("The profile cannot be checked: {missing}.", missing=missing)
            raise _UncheckedProfile("not-found", text)
        constrained = self._repository.snapshot(profile).type
        if not self._repository.core.is_a(constrained, "Resource"):
            text = Message(
                "{profile} constrains {constrained}, which is not a resource type.",
                profile=profile,
                constrained=constrained,
            )
            raise _UncheckedProfile("invalid", text)
        rule = self._rules[profile] = self._repository.rule(profile)
        return rule

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


def _type_name(resource: Any) -> str:
    return str(resource.get("resourceType", "Resource"))


@dataclass(frozen=True, slots=True)
class _Validators:
    """by_severity: by text_only_severity. used: the stored structures that they are compiled from."""

    by_severity: Mapping[str, ProfileValidator]
    used: UsedStructures | None


class ResourceValidator:
    """Validates resources against R4 and the profiles of `catalog`. One per process; threads can share it.

    terminology: None for that of the catalog alone. structures: profiles and extensions in addition to those of the
    catalog, which can change. Profiles are compiled on first use, or by `prepare`, which a parent process calls before
    it forks."""

    def __init__(
        self, catalog: Catalog, terminology: Terminology | None = None, structures: StructureSource | None = None
    ):
        self.structure = StructureValidator(catalog.core)
        self._catalog, self._structures = catalog, structures
        self._terminology = terminology or Terminology(catalog)
        self._compiled = self._new_validators()

    def _new_validators(self) -> _Validators:
        used = None if self._structures is None else UsedStructures(self._structures)
        by_severity = {
            severity: ProfileValidator(self._catalog, self._terminology, text_only_severity=severity, stored=used)
            for severity in ("error", "warning")
        }
        return _Validators(by_severity, used)

    def _refresh(self) -> None:
        """Replaces the validators if structures that they have used have changed. Validations that have begun keep the
        old ones."""
        used = self._compiled.used
        if used is not None and used.is_used and used.source.marker() != used.marker:
            self._compiled = self._new_validators()

    @property
    def _validators(self) -> Mapping[str, ProfileValidator]:
        """By text_only_severity, which requirements choose."""
        return self._compiled.by_severity

    def with_terminology(self, terminology: Terminology) -> ResourceValidator:
        """A validator with the same compiled rules and another terminology."""
        other = copy(self)
        other._terminology = terminology
        by_severity = {s: validator.with_terminology(terminology) for s, validator in self._validators.items()}
        other._compiled = _Validators(by_severity, self._compiled.used)
        return other

    def with_structures(self, structures: StructureSource | None) -> ResourceValidator:
        """A validator with other structures. It shares the rules of R4, and compiles profiles again."""
        other = copy(self)
        other._structures = structures
        other._compiled = other._new_validators()
        return other

    def knows(self, profile: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is available. Types of R4 are profiles too."""
        return self._validators["error"].knows(profile)

    def can_check(self, profile: str, text_only_severity: str = "error") -> bool:
        """Whether the definition of a profile is available and valid. Installed packages and clients can have invalid
        ones."""
        self._refresh()
        return self._validators[text_only_severity].can_check(profile)

    def profiles(self, text_only_severity: str = "error") -> ProfileValidator:
        """The validator of profiles. text_only_severity: see `ProfileRequirement`."""
        self._refresh()
        return self._validators[text_only_severity]

    def prepare(self, requirements: Iterable[ProfileRequirement]) -> None:
        """Compiles profiles now. An invalid profile is logged, and gives an issue for each resource that needs it."""
        for requirement in requirements:
            if self.knows(requirement.profile):
                try:
                    self._validators[requirement.text_only_severity or "error"].compile(requirement.profile)
                except StartupError as e:
                    log.warning("invalid profile: %s", e)

    def validate(
        self, resource: Any, requirements: Sequence[ProfileRequirement], nested: Sequence[NestedRequirements] = ()
    ) -> list[Issue]:
        """The issues of a resource (parsed JSON), each once: of R4, of each requirement that is not off, and of the
        requirements of nested resources.

        Errors of a requirement with the policy warn become warnings. See `StructureValidator.validate` for
        expressions."""
        self._refresh()
        found = self.structure.validate(resource)
        of_structure = len(found)
        checked = [requirement for requirement in requirements if requirement.policy != "off"]
        scopes = self._scopes(resource) if nested else None
        for requirement in checked:
            found += self.validate_requirement(resource, requirement, scopes)
        if not checked and (not found or self.structure.knows(resource)):
            # Extensions are always checked against their definitions. A profile includes this check.
            found += self._validators["warning"].validate_occurrences(resource)
        if scopes is not None:
            found += self._validate_nested(resource, nested, found, scopes)
        return list(dict.fromkeys(found)) if len(found) > of_structure else found

    def validate_requirement(
        self, resource: Any, requirement: ProfileRequirement, scopes: _Scopes | None = None
    ) -> list[Issue]:
        """The issues of a resource with one profile. A requirement without a policy is enforced; one without a
        text_only_severity makes text without a code an error."""
        if requirement.source == "claimed" and not self.knows(requirement.profile):
            name = resource.get("resourceType") if type(resource) is dict else None
            found = [_unknown(requirement.profile, name if type(name) is str else "Resource")]
        else:
            severity = requirement.text_only_severity or "error"
            scope = None if scopes is None else scopes[severity]
            found = self._validators[severity].validate(resource, requirement.profile, scope)
        return apply_policy(found, requirement)

    def _scopes(self, resource: Any) -> _Scopes:
        """Scopes that a resource shares with the resources nested in it, so that nothing is checked twice."""
        return {severity: validator.scope(resource) for severity, validator in self._validators.items()}

    def _validate_nested(
        self, resource: Any, nested: Sequence[NestedRequirements], reported: Iterable[Issue], scopes: _Scopes
    ) -> list[Issue]:
        """The issues of nested resources, without those of a rule that is already reported for the same expression."""
        known = {(i.expression, i.rule) for i in reported if i.rule is not None}
        found: list[Issue] = []
        for one, requirements in nested:
            for requirement in requirements:
                if requirement.policy == "off":
                    continue
                if self.knows(requirement.profile):
                    severity = requirement.text_only_severity or "error"
                    issues = self._validators[severity].validate_nested(scopes[severity], one, requirement.profile)
                else:
                    issues = [_unknown(requirement.profile, f"{resource['resourceType']}{one.path}")]
                found += apply_policy(issues, requirement)
        return [i for i in found if (i.expression, i.rule) not in known]


def claimed_profiles(resource: Any) -> list[str]:
    """The profiles in meta.profile, each once. Empty if meta.profile is malformed."""
    meta = resource.get("meta") if type(resource) is dict else None
    profiles = meta.get("profile") if type(meta) is dict else None
    return list(dict.fromkeys(p for p in profiles if type(p) is str)) if type(profiles) is list else []


def downgrade(issues: Iterable[Issue]) -> list[Issue]:
    """The issues with errors as warnings."""
    return [replace(i, severity="warning") if i.is_error else i for i in issues]


def apply_policy(issues: list[Issue], requirement: ProfileRequirement) -> list[Issue]:
    """The issues with the severities that a requirement gives them."""
    if requirement.downgraded_rules:
        issues = [
            replace(i, severity="warning") if i.is_error and _rule_name(i) in requirement.downgraded_rules else i
            for i in issues
        ]
    return downgrade(issues) if requirement.policy == "warn" else issues


def _rule_name(issue: Issue) -> str:
    """The name of the rule, without its system."""
    return (issue.rule or "").rpartition("|")[2]


def _unknown(profile: str, path: str) -> Issue:
    text = Message(
        "The profile {profile} is unknown, so it is not checked. Load a plugin that defines it with --plugin.",
        profile=profile,
    )
    return Issue("error", "not-found", text, (f"{path}.meta.profile",))
