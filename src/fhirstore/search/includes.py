"""`_include` and `_revinclude`: https://hl7.org/fhir/R4/search.html#revinclude."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fhirstore.capability.registry import Registry, SearchParam
from fhirstore.errors import FhirError, error
from fhirstore.model.conditions import And, Condition, Reference
from fhirstore.model.messages import Message
from fhirstore.model.queries import Include
from fhirstore.model.stored import Stored
from fhirstore.search.filters import UnknownParameter
from fhirstore.store.protocol import Store

_ITERATE = ("iterate", "recurse")


def read_include(registry: Registry, type: str, name: str, text: str) -> Include:
    """Parses `_include=Source:param[:target]`, `*` or `Source:*` of a search on the type.

    Raises UnknownParameter for includes that are not declared or not known, ValueError for invalid syntax."""
    kind, colon, modifier = name.partition(":")
    if colon and modifier not in _ITERATE:
        raise ValueError(
            Message("the modifier :{modifier} is not supported here; supported: :iterate", modifier=modifier)
        )
    parts = text.split(":")
    if text != "*" and (not 2 <= len(parts) <= 3 or not all(parts)):
        raise ValueError(
            Message(
                "{text} is not of the form Source:parameter, Source:parameter:Target, Source:* or *", text=repr(text)
            )
        )
    source, param, target = (*parts, "*", None)[:3] if text == "*" else (*parts, None)[:3]
    include = Include(str(source), str(param), target, bool(colon), kind == "_revinclude")
    if not _declared(registry, type, include, text):
        raise UnknownParameter(Message("{type} does not offer {kind}={text}", type=type, kind=kind, text=text))
    if not any(True for _ in steps(registry, include)):
        raise UnknownParameter(
            Message("{kind}={text} names no reference parameter that is indexed here", kind=kind, text=text)
        )
    return include


def _declared(registry: Registry, type: str, include: Include, text: str) -> bool:
    served = registry.types[type]
    offered = served.rev_includes if include.reverse else served.includes
    if include.iterate and not include.reverse and include.source in registry.types:
        offered |= registry.types[include.source].includes
    return "*" in offered or text in offered or f"{include.source}:{include.param}" in offered


def steps(registry: Registry, include: Include) -> Iterator[tuple[str, SearchParam]]:
    """The (source type, reference parameter) pairs of an include, several for a wildcard."""
    sources = registry.indexed_types if include.source == "*" else (include.source,)
    for source in sources:
        params = registry.indexed_types.get(source, {})
        for code in params if include.param == "*" else (include.param,):
            param = params.get(code)
            if param is None or param.type != "reference":
                continue
            if include.target is None or not param.targets or include.target in param.targets:
                yield source, param


def included(
    store: Store, registry: Registry, includes: Sequence[Include], matches: Sequence[Stored], limit: int
) -> list[Stored]:
    """The resources that the includes add to the matches, each once. matches: of one type.

    Works in rounds: all includes apply to the matches, and those with :iterate to the resources of the previous round.
    Stops at `limit` + 1 resources."""
    if not matches:
        return []
    found: list[Stored] = []
    start = matches[0].type
    seen = {f"{start}/{match.id}" for match in matches} if _leads_back(registry, includes, start) else set()
    layer, active = list(matches), includes
    by_type = {start: layer}
    while layer and active:
        room = limit - len(found)
        layer = _named(store, registry, active, by_type, seen)
        for include in active:
            if include.reverse and len(layer) <= room:
                layer += _pointing(store, registry, include, by_type, seen, len(seen) + room)
        found += layer
        if len(layer) > room:
            return found[: limit + 1]
        by_type = defaultdict(list)
        for stored in layer:
            by_type[stored.type].append(stored)
        active = [include for include in includes if include.iterate]
    return found


def _leads_back(registry: Registry, includes: Sequence[Include], type: str) -> bool:
    """Whether the includes may reach resources of the type."""
    return any(
        source == type if include.reverse else not param.targets or type in param.targets
        for include in includes
        for source, param in steps(registry, include)
    )


def _named(
    store: Store,
    registry: Registry,
    includes: Iterable[Include],
    by_type: Mapping[str, list[Stored]],
    seen: set[str],
) -> list[Stored]:
    """The new resources that forward includes reach from those in `by_type`. Adds them to `seen`."""
    wanted: set[str] = set()
    for include in includes:
        if include.reverse:
            continue
        types = registry.types.keys() if include.target is None else registry.types.keys() & {include.target}
        for source, param in steps(registry, include):
            if source in by_type:
                # Other targets than "Type/id" do not start with a type, or are not found.
                targets = store.references(by_type[source], param.code)
                wanted.update([target for target in targets if target.partition("/")[0] in types])
    wanted -= seen
    seen |= wanted
    return store.read_many(wanted) if wanted else []


def _pointing(
    store: Store,
    registry: Registry,
    include: Include,
    by_type: Mapping[str, list[Stored]],
    seen: set[str],
    limit: int,
) -> list[Stored]:
    """The new resources that a reverse include finds. Adds them to `seen`."""
    found: list[Stored] = []
    for source, param in steps(registry, include):
        targets = tuple(
            stored.ref
            for type, resources in by_type.items()
            if include.target in (None, type) and (not param.targets or type in param.targets)
            for stored in resources
        )
        if targets:
            points: Condition = Reference(param.code, targets)
            where = points if include.where is None else And((points, include.where))
            for stored in store.find(source, where, limit=limit + 1).entries:
                if stored.ref not in seen:
                    seen.add(stored.ref)
                    found.append(stored)
    return found


def too_many(limit: int) -> FhirError:
    """The refusal of a page with more included resources than `max_includes`."""
    return error(
        422,
        "too-costly",
        Message(
            "More than {limit} resources would be included in this page (setting max_includes): "
            "ask for fewer matches with _count, or for fewer includes.",
            limit=limit,
        ),
        "http._include",
    )
