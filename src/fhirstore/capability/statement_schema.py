"""https://hl7.org/fhir/R4/capabilitystatement.html: validates a statement and that the server supports it."""

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
MAX_PROBLEMS = 20


def check_statement(statement: Mapping[str, Any], core: Definitions, where: str) -> None:
    """Raises StartupError with the JSON path of each unknown, misplaced or unsupported element."""
    problems = [*_unknown_keys(core, "CapabilityStatement", statement, "")]
    problems += _flattened(_Statement().validate(_without_client_rests(statement)), "")
    if problems:
        raise StartupError("\n".join(f"{where}: {problem}" for problem in problems[:MAX_PROBLEMS]))


def _without_client_rests(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with the entries of rest that have mode client emptied: they are ignored."""
    rests = statement.get("rest")
    if not isinstance(rests, list):
        return dict(statement)
    return {**statement, "rest": [{"mode": "client"} if _is_client(rest) else rest for rest in rests]}


def _is_client(rest: Any) -> bool:
    return isinstance(rest, dict) and rest.get("mode") == "client"


def _unknown_keys(core: Definitions, path: str, value: Any, at: str) -> Iterator[str]:
    """The JSON paths of keys that R4 does not define, in this object and its backbone elements."""
    node = core.node(path)
    if node is None or not isinstance(value, dict):
        return
    for key, child in value.items():
        bare = key.removeprefix("_")
        if bare == "resourceType" and not at:
            continue
        if bare not in node.keys:
            yield f"{at}{key}: R4 does not define this element in {path}. Defined: {', '.join(sorted(node.keys))}"
            continue
        element = node.keys[bare][0]
        if element.node is not None:
            children = child if isinstance(child, list) else [child]
            for number, one in enumerate(children):
                yield from _unknown_keys(core, element.node, one, f"{at}{key}[{number}].")


def _flattened(messages: Any, at: str) -> Iterator[str]:
    """The nested messages of marshmallow as `rest[0].resource[3].type: …`."""
    if isinstance(messages, dict):
        for key, below in messages.items():
            step = f"[{key}]" if isinstance(key, int) else f".{key}" if at else key
            yield from _flattened(below, at + step)
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield f"{at}: {message}"


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
