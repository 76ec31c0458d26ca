"""https://hl7.org/fhir/R4/operations.html#request: in parameters, checked against the definition of the operation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from fhirstore.capability.registry import OperationParameter, ServedOperation
from fhirstore.definitions.core import Definitions
from fhirstore.errors import FhirError, Issue, error
from fhirstore.model.messages import Message, conjunction, disjunction
from fhirstore.validation.structure import StructureValidator

Arguments = dict[str, list[Any]]

GENERAL = frozenset(("_format", "_pretty", "_summary", "_elements"))
"""Parameters of every request: https://hl7.org/fhir/R4/http.html#general."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")


@lru_cache(maxsize=2048)  # types, and pairs of types, that definitions and clients name
def _is_a(core: Definitions, type: str, ancestor: str) -> bool:
    return core.is_a(type, ancestor)


@lru_cache(maxsize=2048)
def _is_primitive(core: Definitions, type: str) -> bool:
    node = core.node(type)
    return node is not None and node.kind == "primitive-type"


class ParameterReader:
    """Reads the in parameters of a request for `operation`."""

    def __init__(self, core: Definitions, validator: StructureValidator, operation: ServedOperation):
        self._core, self._validator, self._operation = core, validator, operation

    def read(self, pairs: Sequence[tuple[str, str]], body: Mapping[str, Any] | None) -> Arguments:
        """name -> values, from the query string and the body. Raises 400 with all issues."""
        issues: list[Issue] = []
        found: Arguments = {}
        for name, text in pairs:
            if name not in GENERAL:
                self._add_text(name, text, found, issues)
        if body is not None:
            self._add_body(body, found, issues)
        issues += _cardinality_issues(self._operation.inputs, found, "Parameters", f"${self._operation.name}")
        if issues:
            raise FhirError(400, tuple(issues))
        return found

    # --- the query string

    def _add_text(self, name: str, text: str, found: Arguments, issues: list[Issue]) -> None:
        where = f"http.{name}"
        parameter = self._operation.inputs.get(name)
        if parameter is None:
            issues.append(self._unknown(name, where))
            return
        primitive = [t for t in parameter.types if _is_primitive(self._core, t)]
        if not primitive:
            kind = ", ".join(parameter.types) or "parts"
            text = Message(
                "The parameter {name} ({kind}) is not primitive. Send it in the body of a POST.", name=name, kind=kind
            )
            issues.append(Issue("error", "invalid", text, (where,)))
            return
        value = self._from_text(primitive[0], text)
        faults = self._value(parameter, primitive[0], value, where)
        issues += faults
        if not faults:
            found.setdefault(name, []).append(_argument(parameter, primitive[0], value))

    def _from_text(self, type: str, text: str) -> Any:
        """The JSON value of a text in a URL; the text itself if it is invalid, so that validation reports it."""
        if type == "boolean":
            return {"true": True, "false": False}.get(text, text)
        if _is_a(self._core, type, "integer"):
            return int(text) if _INTEGER.fullmatch(text) else text
        if type == "decimal":
            return Decimal(text) if _DECIMAL.fullmatch(text) else text
        return text

    # --- the body

    def _add_body(self, body: Mapping[str, Any], found: Arguments, issues: list[Issue]) -> None:
        if body.get("resourceType") == "Parameters":
            self._add_parts(self._operation.inputs, body.get("parameter", []), "Parameters.parameter", found, issues)
            return
        resources = [p for p in self._operation.inputs.values() if self._takes_resource(p)]
        if len(resources) != 1:
            text = Message(
                "The body is {type_of}. ${name} requires the resource Parameters.",
                type_of=_type_of(body),
                name=self._operation.name,
            )
            raise error(400, "invalid", text, "Resource")
        faults = self._resource(resources[0], body, str(body.get("resourceType", "Resource")))
        issues += faults
        if not faults:
            found.setdefault(resources[0].name, []).append(body)

    def _add_parts(
        self,
        known: Mapping[str, OperationParameter],
        entries: Any,
        path: str,
        found: Arguments,
        issues: list[Issue],
    ) -> None:
        if not isinstance(entries, list):
            issues.append(
                Issue("error", "structure", Message("{path} must be an array of parameters.", path=path), (path,))
            )
            return
        for number, raw in enumerate(entries):
            where = f"{path}[{number}]"
            name = raw.get("name") if isinstance(raw, dict) else None
            if not isinstance(name, str):
                issues.append(Issue("error", "required", Message("{place}.name is missing.", place=where), (where,)))
            elif name not in known:
                issues.append(self._unknown(name, f"{where}.name", known))
            else:
                self._add_part(known[name], raw, where, found, issues)

    def _add_part(
        self, parameter: OperationParameter, raw: Mapping[str, Any], where: str, found: Arguments, issues: list[Issue]
    ) -> None:
        value_keys = [key for key in raw if key.startswith("value") or key in ("resource", "part")]
        if len(value_keys) != 1:
            issues.append(self._wrong_value(parameter, value_keys, where))
            return
        key, value = value_keys[0], raw[value_keys[0]]
        place = f"{where}.{key if key in ('resource', 'part') else 'value'}"
        if parameter.parts and key == "part":
            parts: Arguments = {}
            before = len(issues)
            self._add_parts(parameter.parts, value, place, parts, issues)
            issues += _cardinality_issues(parameter.parts, parts, where, parameter.name)
            if len(issues) == before:
                found.setdefault(parameter.name, []).append(parts)
            return
        type = str(value.get("resourceType")) if key == "resource" and isinstance(value, dict) else self._type_of(key)
        if key == "resource" and self._takes_resource(parameter):
            faults = self._resource(parameter, value, place)
        elif type is None or not self._allows(parameter, type):
            faults = [self._wrong_key(parameter, key, where, place)]
        else:
            faults = self._value(parameter, type, value, place)
        issues += faults
        if not faults:
            found.setdefault(parameter.name, []).append(_argument(parameter, type or "", value))

    def _wrong_value(self, parameter: OperationParameter, keys: list[str], where: str) -> Issue:
        text = Message(
            "{place}: {name} has {found_keys}; expected: {expected}.",
            place=where,
            name=parameter.name,
            found_keys=conjunction(keys) or Message("no value"),
            expected=self._expected(parameter),
        )
        return Issue("error", "structure", text, (where,))

    def _wrong_key(self, parameter: OperationParameter, key: str, where: str, place: str) -> Issue:
        text = Message(
            "{place}: {name} is in {key}; expected: {expected}.",
            place=where,
            name=parameter.name,
            key=key,
            expected=self._expected(parameter),
        )
        return Issue("error", "structure", text, (place,))

    # --- values

    def _value(self, parameter: OperationParameter, type: str, value: Any, where: str) -> list[Issue]:
        faults = [i for i in self._validator.value(type, value, where) if i.is_error]
        if not faults and parameter.codes is not None and value not in parameter.codes:
            codes = ", ".join(sorted(parameter.codes)[:20])
            text = Message(
                "{name} does not allow the code {value}. Allowed codes: {codes}.",
                name=parameter.name,
                value=repr(value),
                codes=codes,
            )
            faults = [Issue("error", "code-invalid", text, (where,))]
        return faults

    def _resource(self, parameter: OperationParameter, value: Any, where: str) -> list[Issue]:
        """Checks the type alone; the operation validates the content."""
        type = value.get("resourceType") if isinstance(value, dict) else None
        if isinstance(type, str) and any(_is_a(self._core, type, t) for t in parameter.types if t[0].isupper()):
            return []
        text = Message(
            "{place}: found {type_of}; expected: {expected}.",
            place=where,
            type_of=_type_of(value),
            expected=self._expected(parameter),
        )
        return [Issue("error", "structure", text, (where,))]

    def _type_of(self, key: str) -> str | None:
        """The FHIR type of valueCode, valueCoding…; None for an unknown key."""
        entry = self._core.node("Parameters.parameter")
        found = entry.keys.get(key) if entry is not None else None
        return found[1].code if found is not None and key.startswith("value") else None

    def _allows(self, parameter: OperationParameter, type: str) -> bool:
        return any(_is_a(self._core, type, allowed) for allowed in parameter.types)

    def _takes_resource(self, parameter: OperationParameter) -> bool:
        return any(_is_a(self._core, t, "Resource") for t in parameter.types)

    def _expected(self, parameter: OperationParameter) -> str:
        if parameter.parts:
            return Message("part with {parts}", parts=", ".join(parameter.parts))
        resources = [t for t in parameter.types if _is_a(self._core, t, "Resource")]
        values = [f"value{t[0].upper()}{t[1:]}" for t in parameter.types if t not in resources]
        keys = ["value[x]" if v == "valueElement" else v for v in values]
        return disjunction([*keys, *(Message("resource with a {type}", type=t) for t in resources)])

    def _unknown(self, name: str, where: str, known: Mapping[str, OperationParameter] | None = None) -> Issue:
        names = ", ".join(self._operation.inputs if known is None else known) or "none"
        text = Message(
            "${name} has no parameter {name_2}. Its parameters: {names}.",
            name=self._operation.name,
            name_2=repr(name[:80]),
            names=names,
        )
        return Issue("error", "invalid", text, (where,))


def _cardinality_issues(
    known: Mapping[str, OperationParameter], found: Arguments, where: str, of: str
) -> Iterable[Issue]:
    for parameter in known.values():
        count = len(found.get(parameter.name, ()))
        if count < parameter.min:
            text = Message("{of}: the parameter {name} is required.", of=of, name=parameter.name)
            yield Issue("error", "required", text, (where,))
        elif parameter.max is not None and count > parameter.max:
            text = Message(
                "{of}: the parameter {name} occurs {count} times; the maximum is {max}.",
                of=of,
                name=parameter.name,
                count=count,
                max=parameter.max,
            )
            yield Issue("error", "invalid", text, (where,))


def _argument(parameter: OperationParameter, type: str, value: Any) -> Any:
    """The argument of the function: with its type if the definition allows several."""
    is_open = len(parameter.types) > 1 or parameter.types == ("Element",)
    return (type, value) if is_open else value


def _type_of(value: Any) -> str:
    if not isinstance(value, Mapping):
        return Message("no resource")
    type = value.get("resourceType")
    return (
        Message("a resource {type}", type=repr(type[:80]))
        if isinstance(type, str)
        else Message("no resource (resourceType is missing)")
    )
