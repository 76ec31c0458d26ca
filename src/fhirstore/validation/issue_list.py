"""The issues that a check finds, with paths relative to the value that it checked.

A check returns None if it finds nothing, so a valid value costs no allocation. The FHIRPath of an issue
(https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.expression) is composed on the way up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fhirstore.errors import Issue
from fhirstore.model.messages import Message
from fhirstore.validation.text import describe

MAX_ISSUES = 100
"""Issues that are reported for one resource. A last issue says that there are more."""

_OF_SLICING = frozenset({"open", "closed", "ordered", "openAtEnd"})


class ProfileRule(NamedTuple):
    """The part of a profile that an issue violates.

    kind: the property of the ElementDefinition ("min", "binding"), or of its slicing ("closed"). element: its id, empty
    for the profile as a whole. profile: the canonical."""

    kind: str
    element: str
    profile: str

    @property
    def name(self) -> str | None:
        """`Issue.rule`: the code system is the profile, the code is the element and its property."""
        return f"{self.profile}|{self.element}:{self.kind}" if self.element else None

    @property
    def label(self) -> Message:
        """ "min of Slot.comment in http://…" """
        kind, element, profile = self
        if not element:
            return Message("{kind} of {profile}", kind=kind, profile=profile)
        if kind in _OF_SLICING:
            return Message("{kind} slicing of {element} in {profile}", kind=kind, element=element, profile=profile)
        return Message("{kind} of {element} in {profile}", kind=kind, element=element, profile=profile)


class ProfileElement(NamedTuple):
    """An element of a profile. id: empty for the profile as a whole. profile: the canonical."""

    id: str
    profile: str

    def rule(self, kind: str) -> ProfileRule:
        return ProfileRule(kind, self.id, self.profile)


@dataclass(slots=True)
class RelativeIssue:
    """An issue whose path is relative. code: as in Issue. path: FHIRPath below the checked value
    (".name[0].given[1]"), "" for the value itself. rule: as in Issue; None for the name of `source`.

    source: the part of a profile that is violated. within: the parts of other profiles through which it applies."""

    code: str
    text: str
    path: str = ""
    rule: str | None = None
    source: ProfileRule | None = None
    within: tuple[ProfileRule, ...] = ()

    @property
    def sources(self) -> tuple[ProfileRule, ...]:
        return self.within if self.source is None else (self.source, *self.within)

    def labelled(self) -> str:
        """The text with its sources."""
        text = self.text
        for source in self.sources:
            text = Message("{text} [{source}]", text=text, source=source.label)
        return text


@dataclass(slots=True)
class IssueList:
    """The issues of one value, by severity. Warnings and information beyond MAX_ISSUES are dropped, errors are not."""

    errors: list[RelativeIssue] = field(default_factory=list)
    warnings: list[RelativeIssue] = field(default_factory=list)
    information: list[RelativeIssue] = field(default_factory=list)

    def merge(self, part: IssueList, segment: str) -> None:
        """Adds the issues of a part of this value. segment: the FHIRPath of the part (".name", "[0]")."""
        for issue in part.errors:
            issue.path = segment + issue.path
        for issue in part.warnings:
            issue.path = segment + issue.path
        self.errors += part.errors
        if len(self.warnings) <= MAX_ISSUES:
            self.warnings += part.warnings
        if part.information and len(self.information) <= MAX_ISSUES:
            for issue in part.information:
                issue.path = segment + issue.path
            self.information += part.information

    @property
    def is_full(self) -> bool:
        """Whether there are more errors than are reported, so that checking can stop."""
        return len(self.errors) > MAX_ISSUES

    def to_issues(self, root: str) -> list[Issue]:
        """Errors, then warnings, then information, at most MAX_ISSUES and one that says that there are more.

        root: the FHIRPath of the checked value."""
        found = [_issue("error", i, root) for i in self.errors[:MAX_ISSUES]]
        found += [_issue("warning", i, root) for i in self.warnings[: MAX_ISSUES - len(found)]]
        found += [_issue("information", i, root) for i in self.information[: MAX_ISSUES - len(found)]]
        if len(self.errors) + len(self.warnings) > MAX_ISSUES:
            severity = "error" if self.is_full else "warning"
            text = Message(
                "There are more than {max_issues} issues. Only the first {max_issues} are reported.",
                max_issues=MAX_ISSUES,
            )
            found.append(Issue(severity, "incomplete", text, (root,)))
        return found


def merged(one: IssueList | None, other: IssueList | None, segment: str = "") -> IssueList | None:
    """Both lists as one. segment: the FHIRPath of `other` below the value of `one`."""
    if other is None:
        return one
    if one is None:
        if not segment:
            return other
        one = IssueList()
    one.merge(other, segment)
    return one


def _issue(severity: str, issue: RelativeIssue, root: str) -> Issue:
    path, rule = root + issue.path, issue.rule
    if rule is None and issue.source is not None:
        rule = issue.source.name
    return Issue(severity, issue.code, Message("{path}: {text}", path=path, text=issue.labelled()), (path,), rule)


def single_error(
    code: str, text: str, path: str = "", rule: str | None = None, source: ProfileRule | None = None
) -> IssueList:
    """A list with one error."""
    return IssueList([RelativeIssue(code, text, path, rule, source)])


def single_warning(
    code: str, text: str, path: str = "", rule: str | None = None, source: ProfileRule | None = None
) -> IssueList:
    """A list with one warning."""
    return IssueList([], [RelativeIssue(code, text, path, rule, source)])


def single_information(
    code: str, text: str, path: str = "", rule: str | None = None, source: ProfileRule | None = None
) -> IssueList:
    """A list with one information."""
    return IssueList([], [], [RelativeIssue(code, text, path, rule, source)])


def wrong_json(value: Any, expected: str) -> IssueList:
    """The error for a value of the wrong JSON type. expected: "a string", "an array"…"""
    if type(value) is list:
        return single_error(
            "structure", Message("expected {expected}, found an array; the element does not repeat", expected=expected)
        )
    if value is None:
        return single_error(
            "structure",
            Message("expected {expected}, found null; omit the property if it has no value", expected=expected),
        )
    return single_error(
        "structure", Message("expected {expected}, found {value}", expected=expected, value=describe(value))
    )


def without_repetitions(found: IssueList, profile: str) -> IssueList:
    """The issues without those of rules that several definitions state. The issue of the profile itself, and of the
    innermost slice, is kept."""
    return IssueList(*(_distinct(issues, profile) for issues in (found.errors, found.warnings, found.information)))


def _distinct(issues: list[RelativeIssue], profile: str) -> list[RelativeIssue]:
    if len(issues) < 2:
        return issues
    url = profile.partition("|")[0]

    def rank(issue: RelativeIssue) -> tuple[bool, int]:
        return any(s.profile == url for s in issue.sources), sum(len(s.label) for s in issue.sources)

    kept: dict[tuple[str, str, str], RelativeIssue] = {}
    for issue in issues:
        key = (issue.code, issue.path, issue.text)
        other = kept.get(key)
        if other is None or rank(issue) > rank(other):
            kept[key] = issue
    return list(kept.values())
