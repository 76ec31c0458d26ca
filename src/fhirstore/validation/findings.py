"""What a check finds: errors and warnings that know where they are, relative to the value that was checked.

A check returns None when all is well, which costs nothing; only on the way up from a fault the FHIRPath of its place
is put together (https://hl7.org/fhir/R4/operationoutcome-definitions.html#OperationOutcome.issue.expression).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fhirstore.errors import Issue

MAX_ISSUES = 100
"""A resource's report ends here, with a last issue that says that there is more."""

_SHOWN = 60
"""Characters of a refused string that a message repeats."""
_LISTED = 25
"""Names that a message lists at most."""
_COMPARED = 200
"""Names among which a near one is looked for at most."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(slots=True)
class Problem:
    """One fault. path: FHIRPath below the checked value, "" for the value itself (".name[0].given[1]"). rule: as in
    Issue."""

    code: str
    text: str
    path: str = ""
    rule: str | None = None


@dataclass(slots=True)
class Findings:
    """The faults of one value. Warnings beyond MAX_ISSUES are dropped; errors never hide behind warnings. notes: what
    is no fault, but might be better."""

    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)

    def absorb(self, part: Findings, segment: str) -> None:
        """Take over the findings of the part of this value that stands at `segment` (".name", "[0]")."""
        for problem in part.errors:
            problem.path = segment + problem.path
        for problem in part.warnings:
            problem.path = segment + problem.path
        self.errors += part.errors
        if len(self.warnings) <= MAX_ISSUES:
            self.warnings += part.warnings
        if part.notes and len(self.notes) <= MAX_ISSUES:
            for problem in part.notes:
                problem.path = segment + problem.path
            self.notes += part.notes

    @property
    def full(self) -> bool:
        """No need to look further."""
        return len(self.errors) > MAX_ISSUES

    def issues(self, root: str) -> list[Issue]:
        """Errors, then warnings, then notes, as issues below the FHIRPath `root`; at most MAX_ISSUES and the remark on
        more."""
        found = [_issue("error", p, root) for p in self.errors[:MAX_ISSUES]]
        found += [_issue("warning", p, root) for p in self.warnings[: MAX_ISSUES - len(found)]]
        found += [_issue("information", p, root) for p in self.notes[: MAX_ISSUES - len(found)]]
        if len(self.errors) + len(self.warnings) > MAX_ISSUES:
            severity = "error" if self.full else "warning"
            text = f"There are more than {MAX_ISSUES} issues; mend these first, the others are reported then."
            found.append(Issue(severity, "incomplete", text, (root,)))
        return found


class Container:
    """The resource that is being checked and the resources contained in it, to which "#id" refers.

    in_transaction: an entry of a transaction Bundle, where references may be searches
    (https://hl7.org/fhir/R4/http.html#trules). current: the resource, or the contained one that is being looked at.
    """

    __slots__ = ("_contained", "current", "in_transaction", "resource")

    def __init__(self, resource: dict[str, Any], in_transaction: bool):
        self.resource = self.current = resource
        self.in_transaction = in_transaction
        self._contained: dict[str, str] | None = None

    def within(self, contained: dict[str, Any]) -> Container:
        """This one, while a contained resource is looked at."""
        inner = Container(self.resource, self.in_transaction)
        inner.current = contained
        return inner

    def find(self, reference: str) -> dict[str, Any] | None:
        """The contained resource that "#id" means, or the container itself ("#"); None for all others."""
        if reference == "#":
            return self.resource
        contained = self.resource.get("contained") if reference.startswith("#") else None
        found = (r for r in (contained if type(contained) is list else ()) if type(r) is dict)
        return next((r for r in found if r.get("id") == reference[1:]), None)

    def type_of(self, id: str) -> str | None:
        """The type of the contained resource `id`, or of the container itself when `id` is empty.

        None = there is no such resource; "" = it does not say its type.
        """
        if not id:
            return str(self.resource.get("resourceType"))
        if self._contained is None:
            contained = self.resource.get("contained")
            self._contained = {
                r["id"]: str(r.get("resourceType", ""))
                for r in (contained if type(contained) is list else ())
                if type(r) is dict and type(r.get("id")) is str
            }
        return self._contained.get(id)


Check = Callable[[Any, Container], Findings | None]
"""Checks one JSON value of a resource; None = all is well."""


_OF_PROFILE = re.compile(r"\[(\w+)(?: slicing)? of (\S+) in ([^\s|\]]+)[^\s\]]*\]")
"""How the text of a profile's rule ends: "[min of Slot.comment in http://…|1.0]"."""


def _issue(severity: str, problem: Problem, root: str) -> Issue:
    where = root + problem.path
    rule = problem.rule
    if rule is None and (found := _OF_PROFILE.search(problem.text)):
        # of the codes of a profile: the element and what is said about it
        rule = f"{found[3]}|{found[2]}:{found[1]}"
    return Issue(severity, problem.code, f"{where}: {problem.text}", (where,), rule)


def refuse(code: str, text: str, path: str = "", rule: str | None = None) -> Findings:
    """A single error."""
    return Findings([Problem(code, text, path, rule)])


def warn(code: str, text: str, path: str = "", rule: str | None = None) -> Findings:
    """A single warning."""
    return Findings([], [Problem(code, text, path, rule)])


def note(code: str, text: str, path: str = "") -> Findings:
    """A single note."""
    return Findings([], [], [Problem(code, text, path)])


def wrong_json(value: Any, wanted: str) -> Findings:
    """The error for a value of the wrong JSON type. wanted: "a string", "an array"…"""
    if type(value) is list:
        return refuse("structure", f"the element has a single value, so {wanted} is wanted, not an array")
    if value is None:
        return refuse("structure", f"null where {wanted} is wanted; leave the property out when there is no value")
    return refuse("structure", f"{describe(value)} where {wanted} is wanted")


def describe(value: Any) -> str:
    """A JSON value in a message: short, and without characters that could not be sent."""
    if type(value) is str:
        text = repr(value[:_SHOWN])
        return f"the string {text}" if len(value) <= _SHOWN else f"the string {text}… of {len(value)} characters"
    if value is None or type(value) is bool:
        return {None: "null", True: "the boolean true", False: "the boolean false"}[value]
    if type(value) is int:
        return f"the number {value}" if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"
    if type(value) in (Decimal, float):
        return f"the number {str(value)[:_SHOWN]}"
    return "an object" if type(value) is dict else "an array"


def segment(key: str) -> str:
    """`.key` as FHIRPath: what is not an identifier stands in backticks."""
    if _IDENTIFIER.fullmatch(key):
        return "." + key
    return ".`" + repr(key[:_SHOWN])[1:-1].replace("`", "\\`") + "`"


def near(name: str, names: Iterable[str]) -> str:
    """The words "; did you mean …?" when one of `names` is much like `name`, else nothing."""
    candidates = sorted(names)
    if len(candidates) > _COMPARED:
        return ""
    found = difflib.get_close_matches(name[:_SHOWN], candidates, n=1, cutoff=0.6)
    if not found:
        folded = name.casefold()
        found = [c for c in candidates if c.casefold() == folded]
    return f"; did you mean {found[0]!r}?" if found else ""


def listed(names: Iterable[str]) -> str:
    """The names, joined by commas, cut after some."""
    ordered = sorted(names)
    more = f"… ({len(ordered)} in all)" if len(ordered) > _LISTED else ""
    return ", ".join(ordered[:_LISTED]) + more
