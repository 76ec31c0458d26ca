"""https://hl7.org/fhir/R4/capabilitystatement.html: validates a statement and that the server supports it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from fhirstore.capability.omissions import Omissions
from fhirstore.definitions.core import Definitions
from fhirstore.errors import StartupError

TYPE_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
SYSTEM_INTERACTIONS = ("transaction", "batch", "history-system")
FORMATS = ("application/fhir+json", "application/json", "application/json+fhir", "json")
MAX_PROBLEMS = 20

Path = tuple[str | int, ...]
"""Keys and positions that lead to an element."""

_REQUIRED: Collection[Path] = frozenset({("resourceType",), ("fhirVersion",), ("format",)})


def check_statement(statement: Mapping[str, Any], core: Definitions, where: str) -> None:
    """Raises StartupError with the JSON path of each unknown, misplaced or unsupported element."""
    problems = [f"{where}: {_path_text(path)}: {text}" for path, text in _problems(statement, core)]
    if problems:
        raise StartupError("\n".join(problems[:MAX_PROBLEMS]))


def supported_part(statement: Mapping[str, Any], core: Definitions, where: str, omissions: Omissions) -> dict[str, Any]:
    """A copy of the statement without its unknown, misplaced and unsupported elements, which become omissions.

    Raises StartupError if a required element of the statement itself is missing or unsupported."""
    part = deepcopy(dict(statement))
    removed: set[Path] = set()
    found: dict[str, list[Path]] = {}
    while problems := list(_problems(part, core)):
        for path, text in problems:
            if path not in removed:  # otherwise the text says that the removed element is missing
                found.setdefault(text, []).append(path)
        targets = {_removable(part, path) for path, _ in problems}
        if None in targets or any(path in _REQUIRED for path in targets):
            check_statement(part, core, where)
        for path in sorted((t for t in targets if t), key=_order, reverse=True):
            _remove(part, path)
            removed.add(path)
    for text, paths in found.items():
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        omissions.add(f"{where}: {_path_text(paths[0])}{others}: {text}")
    return part


def _order(path: Path) -> list[tuple[int, str]]:
    """Sorts the entries of a list by their number."""
    return [(step, "") if isinstance(step, int) else (-1, step) for step in path]


def _removable(statement: Any, path: Path) -> Path | None:
    """The path if it leads to a value, else the innermost entry of a list that it passes; None if there is none."""
    value = statement
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            while path and not isinstance(path[-1], int):
                path = path[:-1]
            return path or None
    return path


def _remove(statement: Any, path: Path) -> None:
    for step in path[:-1]:
        statement = statement[step]
    del statement[path[-1]]


def _problems(statement: Mapping[str, Any], core: Definitions) -> Iterator[tuple[Path, str]]:
    """The path of each unknown, misplaced or unsupported element, and the reason."""
    yield from _unknown_keys(core, "CapabilityStatement", statement, ())
    yield from _flattened(_Statement().validate(_without_client_rests(statement)), ())


def _path_text(path: Iterable[str | int]) -> str:
    """ "rest[0].resource[3].type"."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _without_client_rests(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with the entries of rest that have mode client emptied: they are ignored."""
    rests = statement.get("rest")
    if not isinstance(rests, list):
        return dict(statement)
    return {**statement, "rest": [{"mode": "client"} if _is_client(rest) else rest for rest in rests]}


def _is_client(rest: Any) -> bool:
    return isinstance(rest, dict) and rest.get("mode") == "client"


def _unknown_keys(core: Definitions, path: str, value: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """The keys that R4 does not define, in this object and its backbone elements, and the reasons."""
    node = core.node(path)
    if node is None or not isinstance(value, dict):
        return
    for key, child in value.items():
        bare = key.removeprefix("_")
        if bare == "resourceType" and not at:
            continue
        if bare not in node.keys:
            yield (*at, key), f"R4 does not define this element in {path}. Defined: {', '.join(sorted(node.keys))}"
            continue
        element = node.keys[bare][0]
        if element.node is not None:
            for step, one in [((n,), c) for n, c in enumerate(child)] if isinstance(child, list) else [((), child)]:
                yield from _unknown_keys(core, element.node, one, (*at, key, *step))


def _flattened(messages: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """The nested messages of marshmallow with their paths."""
    if isinstance(messages, dict):
        for key, below in messages.items():
            yield from _flattened(below, (*at, key))
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield at, str(message)


def _supported(known: Collection[str], kind: str) -> Callable[[str], None]:
    """A validator for a supported value. kind: what the value is, for messages."""

    def check(value: str) -> None:
        if value not in known:
            raise ValidationError(f"the {kind} {value} is not supported. Supported: {', '.join(known)}.")

    return check


def _unsupported(feature: str) -> Callable[[Any], None]:
    """A validator that rejects any value."""

    def check(value: Any) -> None:
        if value:
            raise ValidationError(f"{feature} is not supported. Remove it from the statement.")

    return check


class _Element(Schema):
    class Meta:
        unknown = INCLUDE  # _unknown_keys checks the keys


class _TypeInteraction(_Element):
    code = fields.Str(required=True, validate=_supported(TYPE_INTERACTIONS, "type interaction"))


class _SystemInteraction(_Element):
    code = fields.Str(required=True, validate=_supported(SYSTEM_INTERACTIONS, "system interaction"))


class _SearchParam(_Element):
    name = fields.Str(required=True)
    type = fields.Str(required=True)
    definition = fields.Str()
    documentation = fields.Str()


class _Operation(_Element):
    name = fields.Str(required=True)
    definition = fields.Str(required=True)
    documentation = fields.Str()


class _Resource(_Element):
    type = fields.Str(required=True)
    profile = fields.Str()
    supportedProfile = fields.List(fields.Str())
    interaction = fields.List(fields.Nested(_TypeInteraction))
    versioning = fields.Str(validate=validate.OneOf(("no-version", "versioned", "versioned-update")))
    readHistory = fields.Boolean(truthy={True}, falsy={False})
    updateCreate = fields.Boolean(truthy={True}, falsy={False})
    conditionalCreate = fields.Boolean(truthy={True}, falsy={False})
    conditionalRead = fields.Str(
        validate=validate.OneOf(("not-supported", "modified-since", "not-match", "full-support"))
    )
    conditionalUpdate = fields.Boolean(truthy={True}, falsy={False})
    conditionalDelete = fields.Str(validate=validate.OneOf(("not-supported", "single", "multiple")))
    referencePolicy = fields.List(fields.Str(validate=_supported(("literal", "logical"), "reference policy")))
    searchInclude = fields.List(fields.Str())
    searchRevInclude = fields.List(fields.Str())
    searchParam = fields.List(fields.Nested(_SearchParam))
    operation = fields.List(fields.Nested(_Operation))


class _Rest(_Element):
    mode = fields.Str(required=True, validate=validate.OneOf(("server", "client")))
    documentation = fields.Str()
    resource = fields.List(fields.Nested(_Resource))
    interaction = fields.List(fields.Nested(_SystemInteraction))
    searchParam = fields.List(fields.Nested(_SearchParam))
    operation = fields.List(fields.Nested(_Operation))
    compartment = fields.Raw(validate=_unsupported("Searching in compartments"))


class _Statement(_Element):
    resourceType = fields.Str(required=True, validate=validate.Equal("CapabilityStatement"))
    url = fields.Str()
    name = fields.Str()
    title = fields.Str()
    kind = fields.Str(validate=validate.OneOf(("instance", "capability", "requirements")))
    fhirVersion = fields.Str(
        required=True,
        validate=validate.Regexp(r"4\.0(\.\d+)?\Z", error="FHIR {input} is not supported. Supported: 4.0.1."),
    )
    format = fields.List(fields.Str(validate=_supported(FORMATS, "format")), required=True)
    patchFormat = fields.Raw(validate=_unsupported("PATCH"))
    instantiates = fields.List(fields.Str())
    imports = fields.List(fields.Str())
    rest = fields.List(fields.Nested(_Rest))
    messaging = fields.Raw(validate=_unsupported("Messaging"))
    document = fields.Raw(validate=_unsupported("The document interface"))
