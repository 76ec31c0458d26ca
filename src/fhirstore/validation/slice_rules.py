"""https://hl7.org/fhir/R4/profiling.html#slicing: the rules of a sliced element.

Values are assigned to slices, each with rules of its own. open: values that match no slice can have any position;
openAtEnd: they must follow the others; closed: they are forbidden. ordered: the values are in the order of the slices.
A slice can be sliced again. `slicing` makes the rules, `discriminators` their matches.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fhirstore.fhirpath.discriminator_paths import DiscriminatorPath, DiscriminatorStep, named_values, walk
from fhirstore.model.messages import Message
from fhirstore.validation.issue_list import IssueList, ProfileElement, RelativeIssue, merged
from fhirstore.validation.rules import Rule, SlicedValue, Slicing, ValidationScope
from fhirstore.validation.text import describe
from fhirstore.validation.value_rules import Profiles, codings_of, referenced_type

RESOLVE = DiscriminatorStep("resolve")

Match = Callable[[SlicedValue, ValidationScope], bool]
"""Whether a value belongs to a slice."""
ValueTest = Callable[[Any, ValidationScope], bool]
"""Whether a value at the path of a discriminator is one of a slice."""


@dataclass(frozen=True, slots=True)
class Slice:
    """rules: by FHIR type. reslicing: the slicing of the slice itself."""

    name: str
    element: ProfileElement
    min: int
    max: int | None
    match: Match
    rules: Mapping[str, Rule | None]
    reslicing: Slicing | None


@dataclass(frozen=True, slots=True)
class SlicingRules:
    """element, name: of the sliced element. by_url: index of the slice by URL, if URLs tell the slices apart. kind:
    open | closed | openAtEnd."""

    element: ProfileElement
    name: str
    slices: list[Slice]
    by_url: dict[str, int] | None
    kind: str
    is_ordered: bool


def slicing_rule(slicing: SlicingRules) -> Slicing:
    """The rule of all values of a sliced element."""
    slices = slicing.slices
    required = [(index, one) for index, one in enumerate(slices) if one.min]

    def check(items: list[SlicedValue], scope: ValidationScope) -> IssueList | None:
        assigned, errors = _assign(slicing, items, scope)
        errors += [_too_few(one, 0) for index, one in required if index not in assigned]
        found = IssueList(errors) if errors else None
        for index, members in assigned.items():
            part = _check_slice(slices[index], members, scope)
            if part is not None:
                found = merged(found, part)
        return found

    return Slicing(check, bool(required))


def _assign(
    slicing: SlicingRules, items: list[SlicedValue], scope: ValidationScope
) -> tuple[dict[int, list[SlicedValue]], list[RelativeIssue]]:
    """The values by index of their slice, and the errors of values that match none or break the order."""
    kind, assigned, errors = slicing.kind, dict[int, list[SlicedValue]](), list[RelativeIssue]()
    last, is_past_end = -1, False
    for item in items:
        index = _index_of(slicing, item, scope)
        if index is None:
            is_past_end = True
            if kind == "closed":
                errors.append(_no_slice(slicing, item))
            continue
        assigned.setdefault(index, []).append(item)
        if slicing.is_ordered and index < last:
            errors.append(_out_of_order(slicing, item, slicing.slices[index].name, slicing.slices[last].name))
        elif is_past_end and kind == "openAtEnd":
            errors.append(_not_at_end(slicing, item, slicing.slices[index].name))
        last = max(last, index)
    return assigned, errors


def _index_of(slicing: SlicingRules, item: SlicedValue, scope: ValidationScope) -> int | None:
    if slicing.by_url is not None:
        url = item.value.get("url") if type(item.value) is dict else None
        return slicing.by_url.get(url) if type(url) is str else None
    for index, one in enumerate(slicing.slices):
        if one.match(item, scope):
            return index
    return None


def _check_slice(one: Slice, members: list[SlicedValue], scope: ValidationScope) -> IssueList | None:
    found: IssueList | None = None
    if len(members) < one.min:
        found = IssueList([_too_few(one, len(members))])
    if one.max is not None and len(members) > one.max:
        found = merged(found, IssueList([_too_many(one, one.max, members)]))
    for item in members:
        rule = one.rules.get(item.type)
        part = rule(item.value, scope) if rule is not None else None
        if part is not None:
            found = merged(found, part, item.segment)
    if one.reslicing is not None and (part := one.reslicing.check(members, scope)) is not None:
        found = merged(found, part)
    return found


# --- matches ------------------------------------------------------------------------------------------


def all_match(matches: Sequence[Match]) -> Match:
    return lambda item, scope: all(match(item, scope) for match in matches)


def position_match(end: int | None) -> Match:
    """Each slice takes as many values as it allows, in order. end: the position after its last value, None if it takes
    all."""
    return lambda item, scope: end is None or item.position < end


def conforming_match(rules: Mapping[str, Rule | None]) -> Match:
    """Without a usable discriminator, a value belongs to the first slice to whose rules it conforms."""

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        rule = rules.get(item.type)
        found = rule(item.value, scope) if rule is not None else None
        return found is None or not found.errors

    return match


def path_match(path: DiscriminatorPath, test: ValueTest) -> Match:
    """Matches if a value at the path passes the test."""

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        return any(test(value, scope) for value, _ in walk(item.value, path, scope.resolve, item.type))

    return match


def existence_match(path: DiscriminatorPath, is_required: bool) -> Match:
    """Matches if there is a value at the path, or if there is none."""
    return lambda item, scope: bool(walk(item.value, path, scope.resolve, item.type)) is is_required


def type_name_match(path: DiscriminatorPath, names: Collection[str]) -> Match:
    """Matches if a value at the path, or the target of the reference there, has one of the types."""
    is_resolved = path[-1:] == [RESOLVE]

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        found = [of for _, of in walk(item.value, path, scope.resolve, item.type)]
        if not found and is_resolved:
            # The reference can name the type of an unavailable target.
            references = walk(item.value, path[:-1], scope.resolve, item.type)
            found = [referenced_type(v) or "" for v, _ in references]
        return any(of[:1].upper() + of[1:] in names for of in found)

    return match


def claim_match(
    profiles: Profiles, path: DiscriminatorPath, types: Mapping[str, str | None], all_profiles: Collection[str]
) -> Match:
    """Matches resources that claim a profile of the slice, so that their errors are reported. A resource that claims no
    profile of any slice belongs to the slice to which it conforms.

    types: the profiles of the slice and the types that they constrain, None if unavailable. all_profiles: those of all
    slices."""

    def match(item: SlicedValue, scope: ValidationScope) -> bool:
        for value, name in walk(item.value, path, scope.resolve, item.type):
            if type(value) is not dict:
                continue
            claimed = _claimed(value)
            if not claimed.isdisjoint(types):
                return True
            if claimed.isdisjoint(all_profiles) and (not name or name in types.values() or None in types.values()):
                return any(of is not None and profiles.conforms(value, url, scope) for url, of in types.items())
        return False

    return match


def _claimed(value: Mapping[str, Any]) -> set[str]:
    meta = value.get("meta")
    profiles = meta.get("profile") if type(meta) is dict else None
    return {p.partition("|")[0] for p in profiles if type(p) is str} if type(profiles) is list else set()


# --- tests of values ----------------------------------------------------------------------------------


def comparison_test(compare: Callable[[Any, Any], bool], expected: Sequence[Any]) -> ValueTest:
    """The test whether a value is one of `expected`."""

    def test(value: Any, scope: ValidationScope) -> bool:
        return any(value == one if type(one) is str else compare(one, value) for one in expected)

    return test


def any_test(tests: Sequence[ValueTest]) -> ValueTest:
    return lambda value, scope: any(test(value, scope) for test in tests)


def children_test(tests: Sequence[tuple[str, ValueTest]]) -> ValueTest:
    """The test whether each of the elements with a test has a value that passes it."""

    def test(value: Any, scope: ValidationScope) -> bool:
        return type(value) is dict and all(
            any(test(v, scope) for v, _ in named_values(value, name)) for name, test in tests
        )

    return test


def membership_test(canonical: str, type_code: str) -> ValueTest:
    """The test whether a value certainly has a code of a value set, for slices with a required binding."""

    def test(value: Any, scope: ValidationScope) -> bool:
        codings = codings_of(value, type_code)
        if not codings:
            return False
        is_member = scope.terminology.value_set(canonical).membership
        return any(is_member(system, code) is True for system, code in codings)

    return test


# --- errors -------------------------------------------------------------------------------------------


def _slicing_error(slicing: SlicingRules, kind: str, item: SlicedValue, text: str) -> RelativeIssue:
    return RelativeIssue("structure", text, item.segment, source=slicing.element.rule(kind))


def _no_slice(slicing: SlicingRules, item: SlicedValue) -> RelativeIssue:
    names = [s.name for s in slicing.slices]
    text = Message(
        "{shown} matches none of the slices of {name}: {names}", shown=_shown(item), name=slicing.name, names=names
    )
    return _slicing_error(slicing, "closed", item, text)


def _out_of_order(slicing: SlicingRules, item: SlicedValue, name: str, before: str) -> RelativeIssue:
    names = [s.name for s in slicing.slices]
    text = Message("slice {name} follows {before}; the order is {names}", name=name, before=before, names=names)
    return _slicing_error(slicing, "ordered", item, text)


def _not_at_end(slicing: SlicingRules, item: SlicedValue, name: str) -> RelativeIssue:
    return _slicing_error(
        slicing, "openAtEnd", item, Message("slice {name} follows a value that matches no slice", name=name)
    )


def _too_few(one: Slice, count: int) -> RelativeIssue:
    text = Message("slice {name}: {count} found; at least {min} required", name=one.name, count=count, min=one.min)
    return RelativeIssue("required", text, source=one.element.rule("min"))


def _too_many(one: Slice, maximum: int, members: list[SlicedValue]) -> RelativeIssue:
    text = Message("slice {name}: not allowed", name=one.name)
    if maximum:
        text = Message(
            "slice {name}: {count} found; at most {max} allowed", name=one.name, count=len(members), max=maximum
        )
    return RelativeIssue("structure", text, members[maximum].segment, source=one.element.rule("max"))


def _shown(item: SlicedValue) -> str:
    url = item.value.get("url") if type(item.value) is dict else None
    return Message("{url} as url", url=describe(url)) if type(url) is str else describe(item.value)
