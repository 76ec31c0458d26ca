"""https://hl7.org/fhir/R4/capabilitystatement.html: checks the shape of a statement and that the core can do it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

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
SHOWN_PROBLEMS = 20


def check_shape(statement: Mapping[str, Any], core: Definitions, where: str) -> None:
    """Raises StartupError with the JSON path of everything that is misspelt, misplaced or beyond the core."""
    problems = [*_unknown_keys(core, "CapabilityStatement", statement, "")]
    problems += _flat(_Statement().validate(_readable(statement)), "")
    if problems:
        raise StartupError("\n".join(f"{where}: {problem}" for problem in problems[:SHOWN_PROBLEMS]))


def _readable(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with rests that are not of mode server emptied: they are not read."""
    rests = statement.get("rest")
    if not isinstance(rests, list):
        return dict(statement)
    return {**statement, "rest": [{"mode": "client"} if _is_client(rest) else rest for rest in rests]}


def _is_client(rest: Any) -> bool:
    return isinstance(rest, dict) and rest.get("mode") == "client"


def _unknown_keys(core: Definitions, path: str, value: Any, at: str) -> Iterator[str]:
    """Keys that R4 does not define, with their JSON path, in this object and the backbone elements below it."""
    node = core.node(path)
    if node is None or not isinstance(value, dict):
        return
    for key, child in value.items():
        bare = key.removeprefix("_")
        if bare == "resourceType" and not at:
            continue
        if bare not in node.keys:
            yield f"{at}{key}: R4 has no such element in {path}; there are {', '.join(sorted(node.keys))}"
            continue
        element = node.keys[bare][0]
        if element.node is not None:
            children = child if isinstance(child, list) else [child]
            for number, one in enumerate(children):
                yield from _unknown_keys(core, element.node, one, f"{at}{key}[{number}].")


def _flat(messages: Any, at: str) -> Iterator[str]:
    """marshmallow's nested messages as `rest[0].resource[3].type: …`."""
    if isinstance(messages, dict):
        for key, below in messages.items():
            step = f"[{key}]" if isinstance(key, int) else f".{key}" if at else key
            yield from _flat(below, at + step)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield f"{at}: {message}"


def _possible(known: Collection[str], what: str) -> Callable[[str], None]:
    """A validator: one of what the core can do."""

    def check(value: str) -> None:
        if value not in known:
            raise ValidationError(f"{value} is not a {what} that fhirstore can do; it can do {', '.join(known)}.")

    return check


def _impossible(what: str) -> Callable[[Any], None]:
    """A validator that refuses whatever is there."""

    def check(value: Any) -> None:
        if value:
            raise ValidationError(f"fhirstore cannot do {what}; take it out of the statement.")

    return check


class _Part(Schema):
    class Meta:
        unknown = INCLUDE  # _unknown_keys judges keys: it knows all of R4


class _TypeInteraction(_Part):
    code = fields.Str(required=True, validate=_possible(TYPE_INTERACTIONS, "type interaction"))


class _SystemInteraction(_Part):
    code = fields.Str(required=True, validate=_possible(SYSTEM_INTERACTIONS, "system interaction"))


class _SearchParam(_Part):
    name = fields.Str(required=True)
    type = fields.Str(required=True)
    definition = fields.Str()
    documentation = fields.Str()


class _Operation(_Part):
    name = fields.Str(required=True)
    definition = fields.Str(required=True)
    documentation = fields.Str()


class _Resource(_Part):
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
    referencePolicy = fields.List(fields.Str(validate=_possible(("literal", "logical"), "reference policy")))
    searchInclude = fields.List(fields.Str())
    searchRevInclude = fields.List(fields.Str())
    searchParam = fields.List(fields.Nested(_SearchParam))
    operation = fields.List(fields.Nested(_Operation))


class _Rest(_Part):
    mode = fields.Str(required=True, validate=validate.OneOf(("server", "client")))
    documentation = fields.Str()
    resource = fields.List(fields.Nested(_Resource))
    interaction = fields.List(fields.Nested(_SystemInteraction))
    searchParam = fields.List(fields.Nested(_SearchParam))
    operation = fields.List(fields.Nested(_Operation))
    compartment = fields.Raw(validate=_impossible("searches in compartments"))


class _Statement(_Part):
    resourceType = fields.Str(required=True, validate=validate.Equal("CapabilityStatement"))
    url = fields.Str()
    name = fields.Str()
    title = fields.Str()
    kind = fields.Str(validate=validate.OneOf(("instance", "capability", "requirements")))
    fhirVersion = fields.Str(
        required=True, validate=validate.Regexp(r"4\.0(\.\d+)?\Z", error="fhirstore serves FHIR 4.0.1, not {input}.")
    )
    format = fields.List(fields.Str(validate=_possible(FORMATS, "format")), required=True)
    patchFormat = fields.Raw(validate=_impossible("patch"))
    instantiates = fields.List(fields.Str())
    imports = fields.List(fields.Str())
    rest = fields.List(fields.Nested(_Rest))
    messaging = fields.Raw(validate=_impossible("messaging"))
    document = fields.Raw(validate=_impossible("document interfaces"))
