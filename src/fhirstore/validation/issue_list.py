"""The issues that a check finds, with paths relative to the value that it checked.

A check returns None if it finds nothing, so a valid value costs no allocation. The FHIRPath of an issue
(https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.expression) is composed on the way up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from fhirstore.errors import Issue
from fhirstore.model.messages import Message
from fhirstore.validation.text import describe

MAX_ISSUES = 100
"""Issues that are reported for one resource. A last issue says that there are more."""

_PROFILE_RULE = re.compile(r"\[(\w+)(?: slicing)? of (\S+) in ([^\s|\]]+)[^\s\]]*\]")
"""The end of a message about a rule of a profile: "[min of Slot.comment in http://…|1.0]"."""


@dataclass(slots=True)
class RelativeIssue:
    """An issue whose path is relative. code, rule: as in Issue. path: FHIRPath below the checked value
    (".name[0].given[1]"), "" for the value itself."""

    code: str
    text: str
    path: str = ""
    rule: str | None = None


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
    path = root + issue.path
    rule = issue.rule
    if rule is None and (found := _PROFILE_RULE.search(issue.text)):
        # The code system is the profile, the code is the element and its constraint.
        rule = f"{found[3]}|{found[2]}:{found[1]}"
    return Issue(severity, issue.code, Message("{path}: {text}", path=path, text=issue.text), (path,), rule)


def single_error(code: str, text: str, path: str = "", rule: str | None = None) -> IssueList:
    """A list with one error."""
    return IssueList([RelativeIssue(code, text, path, rule)])


def single_warning(code: str, text: str, path: str = "", rule: str | None = None) -> IssueList:
    """A list with one warning."""
    return IssueList([], [RelativeIssue(code, text, path, rule)])


def single_information(code: str, text: str, path: str = "") -> IssueList:
    """A list with one information."""
    return IssueList([], [], [RelativeIssue(code, text, path)])


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
