"""https://hl7.org/fhir/R4/profiling.html#discriminator: how a slice recognises its values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fhirstore.validation.coded import matcher
from fhirstore.validation.constraints import equal, fits, stated
from fhirstore.validation.scope import Scope
from fhirstore.validation.targets import referred_type
from fhirstore.validation.tree import Part

if TYPE_CHECKING:
    from fhirstore.validation.profiles import ProfileRepository


class Item(NamedTuple):
    """A value of a sliced element. segment: its place ("[2]", "" where the element does not repeat). type: a FHIR
    type."""

    segment: str
    value: Any
    type: str
    position: int


Match = Callable[[Item, Scope], bool]
Test = Callable[[Any, Scope], bool]
Step = tuple[str, str]
"""("name", element), ("extension", url), ("resolve", "") or ("ofType", type)."""

_STEP = re.compile(
    r"\$this|extension\(\s*['\"]?([^'\")]*)['\"]?\s*\)|(resolve)\(\)|ofType\(\s*(\w+)\s*\)|as\(\s*(\w+)\s*\)|(\w+)(?:\[x\])?"
)


def steps(path: str) -> list[Step] | None:
    """The steps of a discriminator's path; None when it is not in the simple subset of FHIRPath allowed there."""
    out: list[Step] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return None
        url, resolve, of_type, as_type, name = match.groups()
        if url is not None:
            out.append(("extension", url))
        elif resolve:
            out.append(("resolve", ""))
        elif of_type or as_type:
            out.append(("ofType", of_type or as_type))
        elif name:
            out.append(("name", name))
        at = match.end()
        if at < len(path):
            if path[at] != ".":
                return None
            at += 1
    return out


def walk(value: Any, path: list[Step], scope: Scope, type_name: str = "") -> list[tuple[Any, str]]:
    """(value, type) of all that a path leads to; the type is empty where the JSON does not show it."""
    found = [(value, type_name)]
    for kind, name in path:
        fresh: list[tuple[Any, str]] = []
        for one, of in found:
            if kind == "ofType":
                if of in ("", name):
                    fresh.append((one, name))
            elif type(one) is dict:
                fresh += _step(one, kind, name, scope)
        found = fresh
    return [(v, str(v["resourceType"]) if type(v) is dict and "resourceType" in v else t) for v, t in found]


def _step(value: Mapping[str, Any], kind: str, name: str, scope: Scope) -> list[tuple[Any, str]]:
    if kind == "resolve":
        text = value.get("reference")
        target = scope.resolve(text)[1] if type(text) is str else None
        return [] if target is None else [(target, "")]
    if kind == "extension":
        extensions = value.get("extension")
        items = extensions if type(extensions) is list else []
        return [(e, "Extension") for e in items if type(e) is dict and e.get("url") == name]
    return _named(value, name)


def _named(value: Mapping[str, Any], name: str) -> list[tuple[Any, str]]:
    """The values of a property, or of a choice whatever its type."""
    found, of = value.get(name), ""
    if found is None:
        for key, item in value.items():
            if key.startswith(name) and key[len(name) : len(name) + 1].isupper():
                found, of = item, key[len(name) :]
                break
    return [(v, of) for v in found] if type(found) is list else [] if found is None else [(found, of)]


def part_at(structures: ProfileRepository, part: Part, path: list[Step]) -> Part | None:
    """The element that a path leads to from a slice, in its own parts or in those of its type's profile."""
    for at, (kind, name) in enumerate(path):
        inner = _inner(part, kind, name)
        if inner is None:
            profiles = part.targets() if kind == "resolve" else part.profiles()
            trees = [structures.tree(url) for url in profiles if structures.known(url)]
            if kind == "resolve" and at == len(path) - 1:
                return part
            rest = path[at + 1 :] if kind == "resolve" else path[at:]
            return next((p for t in trees if (p := part_at(structures, t, rest)) is not None), None)
        part = inner
    return part


def _inner(part: Part, kind: str, name: str) -> Part | None:
    if kind == "name":
        return part.part(name)
    if kind == "ofType":
        return next((s for s in part.slices.values() if s.codes() == [name]), part)
    if kind == "extension":
        family = part.part("extension")
        return next((s for s in family.slices.values() if url_of(s) == name), None) if family else None
    return None


def url_of(part: Part) -> str | None:
    """The url of the extensions that a slice of `extension` holds."""
    url = part.part("url")
    if url is not None and (found := stated(url.definition, "fixed") or stated(url.definition, "pattern")):
        return str(found[1])
    profiles = part.profiles()
    return profiles[0].partition("|")[0] if profiles else None


def value_match(structures: ProfileRepository, part: Part, path: list[Step], sliced: Part) -> Match | None:
    """For the discriminators value and pattern; None when the slice says nothing of what stands at the path."""
    test = expected(structures, part, path, sliced)
    if test is None:
        return None
    return lambda item, scope: any(test(v, scope) for v, _ in walk(item.value, path, scope, item.type))


def expected(structures: ProfileRepository, part: Part, path: list[Step], sliced: Part | None = None) -> Test | None:
    """The test of a value at `path` below `part`: fixed, pattern, or a required binding.

    sliced: the element that `part` is a slice of; a binding that it has too tells nothing."""
    for kind, compare in (("fixed", equal), ("pattern", fits)):
        if found := stated(part.definition, kind):
            wanted = _dig(found[1], path)
            if wanted:
                return _compare(compare, wanted)
    if path:
        return _further(structures, part, path)
    binding = part.definition.get("binding", {})
    inherited = sliced.definition.get("binding", {}) if sliced else {}
    if binding.get("strength") == "required" and binding.get("valueSet") not in (None, inherited.get("valueSet")):
        tests = [matcher(binding["valueSet"], code) for code in part.codes()]
        return lambda value, scope: any(test(value, scope) for test in tests)
    return _whole(structures, part)


def _compare(compare: Callable[[Any, Any], bool], wanted: list[Any]) -> Test:
    return lambda value, scope: any(compare(w, value) for w in wanted)


def _dig(value: Any, path: list[Step]) -> list[Any]:
    """What a fixed or pattern value has at the path."""
    if not path:
        return [value]
    if type(value) is list:
        return [v for item in value for v in _dig(item, path)]
    if type(value) is not dict or path[0][0] != "name":
        return []
    return [v for inner, _ in _named(value, path[0][1]) for v in _dig(inner, path[1:])]


def _further(structures: ProfileRepository, part: Part, path: list[Step]) -> Test | None:
    kind, name = path[0]
    if kind == "extension" and path[1:] == [("name", "url")]:
        return lambda value, scope: bool(value == name)
    inner = _inner(part, kind, name)
    if inner is not None:
        candidates = [inner, *inner.slices.values()] if inner is not part else [inner]
        tests = [t for c in candidates if (t := expected(structures, c, path[1:])) is not None]
        if tests:
            return lambda value, scope: any(test(value, scope) for test in tests)
    urls = part.targets() if kind == "resolve" else part.profiles()
    rest = path[1:] if kind == "resolve" else path
    for url in urls:
        if structures.known(url) and (test := expected(structures, structures.tree(url), rest)) is not None:
            return test
    return None


def _whole(structures: ProfileRepository, part: Part) -> Test | None:
    """Of a slice without a pattern: the patterns and fixed values of its parts, all of which must be met."""
    tests = [
        (name.removesuffix("[x]"), test)
        for name, inner in part.parts.items()
        if (test := expected(structures, inner, [])) is not None
    ]
    if not tests:
        return None

    def check(value: Any, scope: Scope) -> bool:
        return type(value) is dict and all(any(test(v, scope) for v, _ in _named(value, name)) for name, test in tests)

    return check


def exists_match(structures: ProfileRepository, part: Part, path: list[Step]) -> Match | None:
    """For the discriminator exists: the slice demands or forbids what the path leads to."""
    inner = part_at(structures, part, path)
    if inner is None or (inner.maximum() != 0 and inner.minimum() == 0):
        return None
    wanted = inner.maximum() != 0
    return lambda item, scope: bool(walk(item.value, path, scope, item.type)) is wanted


def type_match(structures: ProfileRepository, part: Part, path: list[Step]) -> Match | None:
    """For the discriminator type: of a choice, a resource, or what a reference points to."""
    inner = part_at(structures, part, path)
    if inner is None:
        return None
    codes = set(inner.codes())
    if path and path[-1][0] == "resolve":
        codes = {name for url in inner.targets() if (name := structures.type_of(url))}
    names = {code[:1].upper() + code[1:] for code in codes}
    if not names or names & {"Resource", "DomainResource"}:
        return None

    def match(item: Item, scope: Scope) -> bool:
        found = [of for _, of in walk(item.value, path, scope, item.type)]
        if not found and path[-1:] == [("resolve", "")]:
            # what is not at hand may still be named by its type
            found = [referred_type(v) or "" for v, _ in walk(item.value, path[:-1], scope, item.type)]
        return any(of[:1].upper() + of[1:] in names for of in found)

    return match


def profile_match(structures: ProfileRepository, part: Part, path: list[Step], others: frozenset[str]) -> Match | None:
    """For the discriminator profile. A resource that claims a profile of one slice belongs to that one, so that its
    faults are told; one that claims none belongs where it conforms. others: the profiles of all slices."""
    inner = part_at(structures, part, path)
    if inner is None:
        return None
    urls = [u.partition("|")[0] for u in profile_urls(inner, path)]
    if not urls:
        return None
    types = {structures.type_of(url) for url in urls}

    def match(item: Item, scope: Scope) -> bool:
        for value, name in walk(item.value, path, scope, item.type):
            if type(value) is not dict:
                continue
            claimed = _claims(value)
            if not claimed.isdisjoint(urls):
                return True
            if claimed.isdisjoint(others) and (name in types or not name or None in types):
                return any(structures.known(url) and structures.conforms(value, url, scope) for url in urls)
        return False

    return match


def profile_urls(part: Part, path: list[Step]) -> list[str]:
    """The profiles that the element at a path demands."""
    return part.targets() if path and path[-1][0] == "resolve" else part.profiles()


def _claims(value: Mapping[str, Any]) -> set[str]:
    meta = value.get("meta")
    profiles = meta.get("profile") if type(meta) is dict else None
    return {p.partition("|")[0] for p in profiles if type(p) is str} if type(profiles) is list else set()
