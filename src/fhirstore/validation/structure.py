"""https://hl7.org/fhir/R4/validation.html: whether a resource has the structure that FHIR R4 defines for its type.

Checked: known properties, JSON types, cardinality, the formats of primitives, ids and extensions of primitives, one
value of a choice, required bindings, reference syntax and target types, contained and nested resources, and the
invariants of R4. Profiles are checked elsewhere.
"""

from __future__ import annotations

from typing import Any

from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element, Node, TypeRef
from fhirstore.errors import Issue
from fhirstore.model.messages import Message, conjunction
from fhirstore.terminology.grammar import GRAMMARS
from fhirstore.validation.arrays import repeated
from fhirstore.validation.base_bindings import bound, unlisted
from fhirstore.validation.issue_list import IssueList, RelativeIssue, single_error, wrong_json
from fhirstore.validation.object_checks import compile_object
from fhirstore.validation.primitives import PRIMITIVES, code_in, code_with_grammar
from fhirstore.validation.references import check_references
from fhirstore.validation.text import describe, near
from fhirstore.validation.value_checks import Check, StructureScope

_WITHOUT_NARRATIVE = frozenset({"Binary", "Bundle", "Parameters"})
"""The resource types that are no DomainResource: https://hl7.org/fhir/R4/domainresource.html."""
_TOO_DEEP = Message("the JSON is nested too deeply to be checked")


class StructureValidator:
    """Validates resources against the types of `core`. One per process; threads can share it.

    The check of a type is compiled from the definitions when the type is first used. Threads can compile the same check
    at the same time: the results are equal, and the last one is kept."""

    def __init__(self, core: Definitions):
        self._core = core
        self._checks: dict[str, Check] = {}
        self._resource_types = core.resource_types

    def validate(self, resource: Any) -> list[Issue]:
        """The issues of a resource (parsed JSON).

        Numbers are int or Decimal; float is accepted. A JSON value that is not a resource gives an issue, not an
        exception. Expressions start with the resource type (`Patient.name[0].given[1]`), or with `Resource` if the
        value is not a resource. There are at most `issue_list.MAX_ISSUES`, and one that says that there are more.
        """
        try:
            found = self.resource(resource)
        except RecursionError:
            found = single_error("too-costly", _TOO_DEEP)
        if found is None:
            return []
        return found.to_issues(resource["resourceType"] if self.knows(resource) else "Resource")

    def knows(self, resource: Any) -> bool:
        """Whether a JSON value has the resourceType of an R4 resource."""
        name = resource.get("resourceType") if type(resource) is dict else None
        return type(name) is str and name in self._resource_types

    def advise(self, resource: Any) -> list[Issue]:
        """The warnings of best practices (https://hl7.org/fhir/R4/bestpractices.html), which only $validate reports:
        dom-6, a narrative."""
        name = resource.get("resourceType") if type(resource) is dict else None
        if type(name) is not str or name not in self._resource_types or name in _WITHOUT_NARRATIVE:
            return []
        narrative = resource.get("text")
        if type(narrative) is dict and "div" in narrative:
            return []
        text = Message("{name}: dom-6: a resource should have a narrative (text.div) for robust management", name=name)
        return [Issue("warning", "invariant", text, (name,), "dom-6")]

    def value(self, type: str, value: Any, where: str) -> list[Issue]:
        """The issues of a JSON value of a data type ("code", "Coding"). where: its FHIRPath."""
        check = PRIMITIVES.get(type) or self.check(type)
        try:
            found = check(value, StructureScope({}, in_transaction=False))
        except RecursionError:
            found = single_error("too-costly", _TOO_DEEP)
        return [] if found is None else found.to_issues(where)

    # --- resources

    def resource(self, value: Any, scope: StructureScope | None = None) -> IssueList | None:
        """Checks a resource of any type that is not contained.

        scope: that of the Bundle or Parameters around it."""
        name = value.get("resourceType") if type(value) is dict else None
        if type(name) is not str or name not in self._resource_types:
            return self._not_resource(value)
        check = self._checks.get(name) or self.check(name)
        in_transaction = scope is not None and scope.resource.get("type") == "transaction"
        return check(value, StructureScope(value, in_transaction))

    def contained(self, value: Any, scope: StructureScope) -> IssueList | None:
        """Checks a resource in `contained` (https://hl7.org/fhir/R4/references.html#contained)."""
        if not self.knows(value):
            return self._not_resource(value)
        found = self.check(value["resourceType"])(value, scope.for_contained(value)) or IssueList()
        if "contained" in value:
            text = Message(
                "a contained resource must not contain others; move them to contained of the outermost resource"
            )
            found.errors.append(RelativeIssue("structure", text, ".contained"))
        if "id" not in value:
            text = Message("missing; a contained resource needs an id, because references to it are #id")
            found.errors.append(RelativeIssue("required", text, ".id"))
        return found if found.errors or found.warnings else None

    def _not_resource(self, value: Any) -> IssueList:
        """The error of a value that is no resource."""
        if type(value) is not dict:
            return wrong_json(value, Message("an object (a resource)"))
        if "resourceType" not in value:
            return single_error(
                "structure", Message('the property resourceType is missing, such as "resourceType": "Patient"')
            )
        name = value["resourceType"]
        hint = near(name, self._resource_types) if type(name) is str else ""
        return single_error(
            "invalid",
            Message("{name} as resourceType is not a resource type of FHIR R4{hint}", name=describe(name), hint=hint),
        )

    # --- compilation

    def check(self, path: str) -> Check:
        """The check of JSON objects of the type or backbone `path`."""
        check = self._checks.get(path)
        if check is None:
            node = self._core.node(path)
            if node is None:
                raise LookupError(Message("The definitions have no type {path}.", path=path))
            check = self._checks[path] = compile_object(self._core, node, self.property_checks, self.check)
        return check

    def property_checks(self, node: Node, element: Element, type_ref: TypeRef) -> tuple[Check, Check]:
        """The check of a property and that of one of its values. They are the same unless the element repeats."""
        item = self._item(node, element, type_ref)
        if element.max == 1:
            return item, item
        if element.name == "contained" and node.kind == "resource":
            return _unique_ids(repeated(item)), item
        return repeated(item), item

    def _item(self, node: Node, element: Element, type_ref: TypeRef) -> Check:
        if element.node is not None:
            return self.check(element.node)
        code = type_ref.code
        binding = element.binding
        required = binding.value_set if binding is not None and binding.strength == "required" else None
        if code in PRIMITIVES:
            codes = self._core.codes(required) if required else None
            if required is None:
                return PRIMITIVES[code]
            return code_in(codes, required) if codes else self._unlisted(PRIMITIVES[code], required, code)
        if code == "Resource":
            is_contained = element.name == "contained" and node.kind == "resource"
            return self.contained if is_contained else self.resource
        check = self.check(code)
        if code == "Reference":
            return check_references(check, self._core.resource_types, type_ref.targets)
        if required and code == "CodeableConcept" and (members := self._core.expansion(required)):
            return bound(check, members, required)
        return self._unlisted(check, required, code) if required and code == "CodeableConcept" else check

    def _unlisted(self, plain: Check, value_set: str, code: str) -> Check:
        """The check of a required value set of R4 whose codes cannot be listed."""
        found = self._core.value_set(value_set) or {}
        systems = [part.get("system", "") for part in found.get("compose", {}).get("include", ())]
        if code == "code" and len(systems) == 1 and systems[0] in GRAMMARS:
            return code_with_grammar(value_set, GRAMMARS[systems[0]], systems[0])
        named = conjunction(Message("the code system {name}", name=s) for s in systems) or Message(
            "the value set {value_set}", value_set=value_set
        )
        return unlisted(plain, value_set, Message("{named} is not available", named=named))


def _unique_ids(plain: Check) -> Check:
    def check(value: Any, scope: StructureScope) -> IssueList | None:
        found = plain(value, scope)
        if type(value) is not list or len(value) < 2:
            return found
        seen: set[str] = set()
        for index, resource in enumerate(value):
            id = resource.get("id") if type(resource) is dict else None
            if type(id) is str and id in seen:
                found = found or IssueList()
                text = Message("another contained resource has the id {id} too, so #id is ambiguous", id=describe(id))
                found.errors.append(RelativeIssue("duplicate", text, f"[{index}].id"))
            elif type(id) is str:
                seen.add(id)
        return found

    return check
