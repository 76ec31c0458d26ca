"""https://hl7.org/fhir/R4/validation.html: one verdict on a resource, of R4 itself and of profiles.

Shared by writes, `$validate` and `fhirstore validate`. Which profiles count, and how much, is decided by who asks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.errors import Issue, StartupError
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.terminology.service import Terminology
from fhirstore.validation.nested import NestedResource
from fhirstore.validation.profiles import ProfileValidator
from fhirstore.validation.scope import Scope
from fhirstore.validation.snapshot import CORE
from fhirstore.validation.structure import StructureValidator

log = logging.getLogger(__name__)

POLICIES = ("off", "warn", "enforce")
"""From the mildest to the strictest."""

Scopes = Mapping[str, Scope]
"""By the severity of text alone."""

NestedRequirements = tuple[NestedResource, Sequence[ProfileRequirement]]
"""A resource inside of another, and the profiles that it is held to."""


class ResourceValidator:
    """Checks resources against R4 and the profiles of `catalog`. One per process; threads may share it.

    terminology: None = that of the catalog alone.

    Profiles are compiled on first use, or by `prepare`, which a parent process calls before it forks."""

    def __init__(self, catalog: Catalog, terminology: Terminology | None = None):
        self.structure = StructureValidator(catalog.core)
        self._defines_extensions = any(
            r.get("resourceType") == "StructureDefinition" and r.get("type") == "Extension"
            for package in catalog.packages
            for r in package.resources
        )
        terminology = terminology or Terminology(catalog)
        # Text alone where a code is required is an error or a warning, as a demand says.
        self._validators = {
            text_only_severity: ProfileValidator(catalog, terminology, text_only_severity=text_only_severity)
            for text_only_severity in ("error", "warning")
        }

    def over(self, terminology: Terminology) -> ResourceValidator:
        """The same rules, already compiled, over another terminology."""
        other = copy(self)
        other._validators = {
            text_only_severity: v.over(terminology) for text_only_severity, v in self._validators.items()
        }
        return other

    def knows(self, profile: str) -> bool:
        """Whether the definition of a profile ("url" or "url|version") is at hand; a type of R4 is one too."""
        return self._validators["error"].knows(profile)

    def can_check(self, profile: str, text_only_severity: str = "error") -> bool:
        """Whether the definition of a profile is at hand and sound: that of a package that was installed by force may
        be neither."""
        return self._validators[text_only_severity].can_check(profile)

    def profiles(self, text_only_severity: str = "error") -> ProfileValidator:
        """The validator of profiles. text_only_severity: severity of text alone where a code is required."""
        return self._validators[text_only_severity]

    def prepare(self, demands: Iterable[ProfileRequirement]) -> None:
        """Compiles profiles now. One that is faulty is logged: it gives an issue where a resource needs it."""
        for demand in demands:
            if self.knows(demand.profile):
                try:
                    self._validators[demand.text_only_severity or "error"].compile(demand.profile)
                except StartupError as e:
                    log.warning("a profile cannot be used: %s", e)

    def judge(
        self, resource: Any, demands: Sequence[ProfileRequirement], inner: Sequence[NestedRequirements] = ()
    ) -> list[Issue]:
        """The issues of a resource, given as parsed JSON, each once: of R4, then of each demand that is not off, then
        of the demands on resources inside of it.

        An error of a demand with the policy warn is a warning. See `StructureValidator.validate` for expressions."""
        found = self.structure.validate(resource)
        told = len(found)
        checked = [demand for demand in demands if demand.policy != "off"]
        scopes = self._scopes(resource) if inner else None
        for demand in checked:
            found += self.against(resource, demand, scopes)
        if not checked and self._defines_extensions and self.structure.knows(resource):
            # Extensions are held to their definitions wherever they stand; profiles see to that themselves.
            found += self._validators["warning"].validate(resource, CORE + resource["resourceType"])
        if scopes is not None:
            found += self._of_inner(resource, inner, found, scopes)
        return list(dict.fromkeys(found)) if len(found) > told else found

    def _scopes(self, resource: Any) -> Scopes:
        """Shared by the demands on a resource and on those inside of it, so that nothing is looked at twice."""
        return {
            text_only_severity: validator.scope(resource) for text_only_severity, validator in self._validators.items()
        }

    def _of_inner(
        self, resource: Any, inner: Sequence[NestedRequirements], told: Iterable[Issue], scopes: Scopes
    ) -> list[Issue]:
        """What a profile of the whole has told already, of the same rule at the same place, is not told again."""
        known = {(i.expression, i.rule) for i in told if i.rule is not None}
        found: list[Issue] = []
        for within, demands in inner:
            where = f"{resource['resourceType']}{within.place}"
            for demand in demands:
                if demand.policy == "off":
                    continue
                if self.knows(demand.profile):
                    text_only_severity = demand.text_only_severity or "error"
                    issues = self._validators[text_only_severity].validate_within(
                        scopes[text_only_severity], within, demand.profile
                    )
                else:
                    issues = [_unknown(demand.profile, where)]
                found += _tempered(issues, demand)
        return [i for i in found if (i.expression, i.rule) not in known]

    def against(self, resource: Any, demand: ProfileRequirement, scopes: Scopes | None = None) -> list[Issue]:
        """The issues of a resource with one profile; what a demand leaves open is enforced, and text alone an error."""
        if demand.source == "claimed" and not self.knows(demand.profile):
            name = resource.get("resourceType") if type(resource) is dict else None
            found = [_unknown(demand.profile, name if type(name) is str else "Resource")]
        else:
            text_only_severity = demand.text_only_severity or "error"
            scope = None if scopes is None else scopes[text_only_severity]
            found = self._validators[text_only_severity].validate(resource, demand.profile, scope)
        return _tempered(found, demand)


def claimed_profiles(resource: Any) -> list[str]:
    """The profiles in meta.profile, each once; nothing where that is malformed."""
    meta = resource.get("meta") if type(resource) is dict else None
    profiles = meta.get("profile") if type(meta) is dict else None
    return list(dict.fromkeys(p for p in profiles if type(p) is str)) if type(profiles) is list else []


def downgrade(issues: Iterable[Issue]) -> list[Issue]:
    """The issues, errors as warnings."""
    return [replace(i, severity="warning") if i.is_error else i for i in issues]


def _tempered(found: list[Issue], demand: ProfileRequirement) -> list[Issue]:
    """The issues of a demand, as severe as it wants them."""
    if demand.downgraded_rules:
        found = [
            replace(i, severity="warning") if i.is_error and _name(i) in demand.downgraded_rules else i for i in found
        ]
    return downgrade(found) if demand.policy == "warn" else found


def _name(issue: Issue) -> str:
    """Of the rule that is broken, without its system."""
    return (issue.rule or "").rpartition("|")[2]


def _unknown(profile: str, where: str) -> Issue:
    text = (
        f"The profile {profile} is not known, so it is not checked; a plugin that defines it is loaded with --plugin."
    )
    return Issue("error", "not-found", text, (f"{where}.meta.profile",))
