"""Profiles that a resource is validated against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProfileRequirement:
    """A profile that a resource is validated against.

    source: declared (by the statement, as `profile` of the type) | claimed (in meta.profile) | chosen (by a plugin) |
    requested ($validate).
    policy: enforce | warn (errors become warnings) | off. None if the settings decide.
    text_only_severity: error | warning, the severity of a concept that has only text where a code of a value set is
    required. None if the settings decide.
    downgraded_rules: names of rules (`Issue.rule`, without system) of the profile whose errors become warnings.
    """

    profile: str
    source: str = "chosen"
    policy: str | None = None
    text_only_severity: str | None = None
    downgraded_rules: frozenset[str] = frozenset()
