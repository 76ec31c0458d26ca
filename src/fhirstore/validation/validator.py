"""https://hl7.org/fhir/R4/validation.html: validation of a resource against R4 and against profiles.

Writes, `$validate` and `fhirstore validate` use it. The caller decides which profiles apply, and how strictly.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import Issue, StartupError
from fhirstore.model.messages import Message
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.terminology.service import Terminology
from fhirstore.validation.nested import NestedResource
from fhirstore.validation.profiles import ProfileValidator
from fhirstore.validation.scope import ValidationScope
from fhirstore.validation.snapshot import CORE
from fhirstore.validation.structure import StructureValidator

log = logging.getLogger(__name__)

POLICIES = ("off", "warn", "enforce")
"""From the most lenient to the strictest."""

NestedRequirements = tuple[NestedResource, Sequence[ProfileRequirement]]
"""A nested resource and the profiles that it is validated against."""

_Scopes = Mapping[str, ValidationScope]
"""By text_only_severity."""


class ResourceValidator:
    """Validates resources against R4 and the profiles of `catalog`. One per process; threads can share it.

    terminology: None for that of the catalog alone. Profiles are compiled on first use, or by `prepare`, which a parent
    process calls before it forks."""

    def __init__(self, catalog: Catalog, terminology: Terminology | None = None):
        self.structure = StructureValidator(catalog.core)
        self._defines_extensions = any(
            r.get("resourceType") == "StructureDefinition" and r.get("type") == "Extension"
            for package in catalog.packages
            for r in package.resources
        )
        terminology = terminology or Terminology(catalog)
        # By text_only_severity, which requirements choose.
        self._validators = {
            severity: ProfileValidator(catalog, terminology, text_only_severity=severity)
            for severity in ("error", "warning")
        }

    def with_terminology(self, terminology: Terminology) -> ResourceValidator:
        """A validator with the same compiled rules and another terminology."""
        other = copy(self)
        other._validators = {
            severity: validator.with_terminology(terminology) for severity, validator in self._validators.items()
        }
        return other

    def knows(self, profile: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is available. Types of R4 are profiles too."""
        return self._validators["error"].knows(profile)

    def can_check(self, profile: str, text_only_severity: str = "error") -> bool:
        """Whether the definition of a profile is available and valid. An installed package can have
        invalid ones."""
        return self._validators[text_only_severity].can_check(profile)

    def profiles(self, text_only_severity: str = "error") -> ProfileValidator:
        """The validator of profiles. text_only_severity: see `ProfileRequirement`."""
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
        found = self.structure.validate(resource)
        of_structure = len(found)
        checked = [requirement for requirement in requirements if requirement.policy != "off"]
        scopes = self._scopes(resource) if nested else None
        for requirement in checked:
            found += self.validate_requirement(resource, requirement, scopes)
        if not checked and self._defines_extensions and self.structure.knows(resource):
            # Extensions are always checked against their definitions. A profile includes this check.
            found += self._validators["warning"].validate(resource, CORE + resource["resourceType"])
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
