"""https://hl7.org/fhir/R4/profiling.html#snapshot: the complete list of elements of a profile.

A package can contain profiles as differentials, which are merged into the elements of their base. The base can be in
another package or in R4 itself. Types are expanded only where the differential constrains their children, so a snapshot
lists the constrained elements and their siblings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions
from fhirstore.definitions.model import Element
from fhirstore.errors import StartupError
from fhirstore.model.messages import Message
from fhirstore.validation.stored_structures import UsedStructures

Definition = dict[str, Any]
"""An ElementDefinition in JSON: https://hl7.org/fhir/R4/elementdefinition.html."""

CORE = "http://hl7.org/fhir/StructureDefinition/"
_PROFILES = ("profile", "targetProfile")
BY_URL: Mapping[str, Any] = {"discriminator": [{"type": "value", "path": "url"}], "rules": "open"}
BY_TYPE: Mapping[str, Any] = {"discriminator": [{"type": "type", "path": "$this"}], "rules": "open"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The elements of a structure by id, in document order; parents precede their children.

    url: its canonical. name: for messages. type: the FHIR type that it constrains. structure: the StructureDefinition,
    None for a type of R4. where: its file or its canonical."""

    url: str
    name: str
    type: str
    elements: Mapping[str, Definition]
    structure: Mapping[str, Any] | None
    where: str


class Snapshots:
    """The snapshots of the structures of a catalog and of `stored`, made on first use and kept.

    The structures of the catalog take precedence."""

    def __init__(self, catalog: Catalog, stored: UsedStructures | None = None):
        self._catalog, self._stored = catalog, stored
        self._made: dict[str, Snapshot] = {}

    def known(self, canonical: str) -> bool:
        """Whether `of` finds a definition: a structure of a package, a type, profile or extension of R4, or a stored
        structure."""
        return self._structure(canonical) is not None or self._core_type(canonical) is not None

    def of(self, canonical: str) -> Snapshot:
        """The snapshot of a structure ("url" or "url|version").

        Raises StartupError, which names the file or the canonical, if it or its base is unavailable, if the bases form
        a circle, or if an element does not exist in the base."""
        return self._of(canonical, ())

    def _of(self, canonical: str, bases: tuple[str, ...]) -> Snapshot:
        found = self._made.get(canonical)
        if found is None:
            try:
                found = self._made[canonical] = self._make(canonical, bases)
            except (KeyError, TypeError, AttributeError, ValueError) as e:
                where = self._where(canonical.partition("|")[0])
                raise StartupError(f"{where}: the StructureDefinition cannot be read: {e!r}") from e
        return found

    def _make(self, canonical: str, bases: tuple[str, ...]) -> Snapshot:
        structure = self._structure(canonical)
        if structure is None:
            name = self._core_type(canonical)
            if name is None:
                raise StartupError(f"{canonical}: {self.missing(canonical)}")
            return Snapshot(CORE + name, name, name, core_elements(self._catalog.core, name), None, canonical)
        url, where = str(structure["url"]), self._where(str(structure["url"]))
        if canonical in bases:
            circle = " -> ".join([*bases[bases.index(canonical) :], canonical])
            raise StartupError(f"{where}: baseDefinition: the bases form a circle: {circle}")
        base = self._base(structure, where, (*bases, canonical))
        if declared := self._elements(structure, "snapshot"):
            elements = {i: dict(e) for i, e in _identified(declared, where)}
        else:
            merger = _DifferentialMerger(self, self._catalog.core, base.elements, where, (*bases, canonical))
            elements = merger.apply(self._elements(structure, "differential"))
        name = str(structure.get("name") or url)
        return Snapshot(url, name, str(structure.get("type", base.type)), elements, structure, where)

    def _base(self, structure: Mapping[str, Any], where: str, bases: tuple[str, ...]) -> Snapshot:
        base = structure.get("baseDefinition")
        if not isinstance(base, str):
            raise StartupError(f"{where}: baseDefinition: missing; a profile needs a base")
        if not self.known(base):
            raise StartupError(f"{where}: baseDefinition: {self.missing(base)}")
        return self._of(self._catalog.with_version(structure, "StructureDefinition", base), bases)

    def _elements(self, structure: Mapping[str, Any], view: str) -> list[Definition]:
        """Its snapshot or differential, with the versions of profiles that its package depends on."""

        def meant(declared: Mapping[str, Any], key: str) -> list[str]:
            return [self._catalog.with_version(structure, "StructureDefinition", c) for c in declared[key]]

        def types(element: Definition) -> list[Definition]:
            return [t | {key: meant(t, key) for key in _PROFILES if key in t} for t in element["type"]]

        return [e | {"type": types(e)} if "type" in e else e for e in structure.get(view, {}).get("element", ())]

    def missing(self, canonical: str) -> str:
        """The reason why `of` does not find a structure."""
        if self._catalog.has_structure(canonical):
            return Message(
                "{canonical} is part of R4, but no installed package contains its definition", canonical=canonical
            )
        return Message("no installed package defines {canonical}", canonical=canonical)

    def _structure(self, canonical: str) -> dict[str, Any] | None:
        found = self._catalog.resource("StructureDefinition", canonical)
        if found is None and self._stored is not None and self._core_type(canonical) is None:
            found = self._stored.find(canonical)
        return found

    def _core_type(self, canonical: str) -> str | None:
        core = self._catalog.core
        name = canonical.removesuffix("|" + core.version).removeprefix(CORE)
        return name if "/" not in name and core.node(name) is not None else None

    def _where(self, url: str) -> str:
        for package in self._catalog.packages:
            if file := package.where.get(("StructureDefinition", url)):
                return file
        return url

    def children(self, definition: Definition, where: str, bases: tuple[str, ...] = ()) -> Mapping[str, Definition]:
        """The elements of the type of an element: those of its profile if it has one, else those of R4."""
        types = definition.get("type", ())
        reference = definition.get("contentReference")
        if reference:
            path = reference.rpartition("#")[2]
            return _below(core_elements(self._catalog.core, path.partition(".")[0]), path)
        if len(types) != 1:
            raise StartupError(f"{where}: {definition['id']}: it must have a single type to constrain its children")
        for profile in types[0].get("profile", ()):
            if self.known(profile):
                return self._of(profile, bases).elements
        return core_elements(self._catalog.core, types[0]["code"])


def core_elements(core: Definitions, type_name: str) -> dict[str, Definition]:
    """The elements of an R4 type by id, with the children of its backbones."""
    elements: dict[str, Definition] = {type_name: {"id": type_name, "path": type_name, "min": 0, "max": "*"}}
    _add_node(core, type_name, elements)
    return elements


def _add_node(core: Definitions, path: str, elements: dict[str, Definition]) -> None:
    node = core.node(path)
    for element in node.elements.values() if node else ():
        elements[element.path] = _definition(element)
        if element.node == element.path:
            _add_node(core, element.path, elements)


def _definition(element: Element) -> Definition:
    out: Definition = {"id": element.path, "path": element.path, "min": element.min}
    out["max"] = "*" if element.max is None else str(element.max)
    if element.node is not None and element.node != element.path:
        out["contentReference"] = "#" + element.node
        return out
    out["type"] = [
        {"code": t.code, "targetProfile": [CORE + target for target in t.targets]} if t.targets else {"code": t.code}
        for t in element.types
    ]
    if element.binding:
        out["binding"] = {"strength": element.binding.strength, "valueSet": element.binding.value_set}
    return out


def _identified(elements: Iterable[Definition], where: str) -> Iterable[tuple[str, Definition]]:
    """Each element with its id. A missing id is derived from the path and the slices that contain the element."""
    prefixes: dict[str, str] = {}
    for element in elements:
        path = element.get("path")
        if not isinstance(path, str):
            raise StartupError(f"{where}: element: path: expected a string, found {path!r}")
        parent, _, name = path.rpartition(".")
        id = element.get("id")
        if id is None:
            id = f"{prefixes.get(parent, parent)}.{name}" if parent else name
            if "sliceName" in element:
                id += ":" + element["sliceName"]
        prefixes[path] = id
        yield id, element


def _below(elements: Mapping[str, Definition], root: str) -> dict[str, Definition]:
    return {i: e for i, e in elements.items() if i == root or i.startswith(root + ".")}


def max_as_number(most: str) -> float:
    """ElementDefinition.max as a number, "*" as infinity."""
    return float("inf") if most == "*" else int(most)


class _DifferentialMerger:
    """Merges a differential into the elements of its base."""

    def __init__(
        self,
        snapshots: Snapshots,
        core: Definitions,
        base: Mapping[str, Definition],
        where: str,
        bases: tuple[str, ...],
    ):
        self._snapshots, self._core, self._where, self._bases = snapshots, core, where, bases
        self._elements = {id: dict(e) for id, e in base.items()}
        self._all_types: dict[str, list[Any]] = {}
        self._named_types: dict[str, list[Any]] = {}

    def apply(self, differential: Iterable[Definition]) -> dict[str, Definition]:
        for id, stated in _identified(differential, self._where):
            target = self._ensure(id)
            constraints = [*target.get("constraint", ()), *stated.get("constraint", ())]
            # https://hl7.org/fhir/R4/profiling.html#limitations: a profile cannot allow what its base does not
            least, most = target.get("min", 0), target.get("max", "*")
            target.update({k: v for k, v in stated.items() if k not in ("id", "path", "constraint")})
            target["min"] = max(target.get("min", 0), least)
            target["max"] = min(target.get("max", "*"), most, key=max_as_number)
            if constraints:
                target["constraint"] = constraints
        return self._elements

    def _ensure(self, id: str) -> Definition:
        """The element `id`. If it is missing, it is copied from the element of which it is a slice or a child."""
        found = self._elements.get(id)
        if found is not None:
            return found
        parent, _, last = id.rpartition(".")
        name, _, slice_name = last.partition(":")
        if not parent:
            raise StartupError(f"{self._where}: {id}: the base has no such element")
        parent = self._ensure(parent)["id"]
        if slice_name:
            outer = slice_name.rpartition("/")[0]
            origin = f"{parent}.{name}:{outer}" if outer else f"{parent}.{name}"
            return self._slice(f"{parent}.{name}:{slice_name}", origin, slice_name)
        if not any(e.startswith(parent + ".") for e in self._elements):
            self._unfold(parent)
        id = f"{parent}.{name}"
        if id in self._elements:
            return self._elements[id]
        return self._choice(id, parent, name)

    def _slice(self, id: str, sliced: str, slice_name: str) -> Definition:
        origin = self._ensure(sliced)
        if "slicing" not in origin:
            kind = sliced.rpartition(".")[2].partition(":")[0]
            if kind in ("extension", "modifierExtension"):
                origin["slicing"] = dict(BY_URL)
            elif kind.endswith("[x]"):
                origin["slicing"] = dict(BY_TYPE)
            elif origin.get("max") == "1":
                return origin  # a name for an element that does not repeat, as in profiles of R4
            else:
                raise StartupError(f"{self._where}: {id}: {sliced} has no slicing with a discriminator")
        copy = {
            id + e[len(sliced) :]: _renamed(definition, id + e[len(sliced) :])
            for e, definition in self._elements.items()
            if e == sliced or e.startswith(sliced + ".")
        }
        made = copy[id]
        made.pop("slicing", None)
        made |= {"sliceName": slice_name, "min": 0}
        if sliced.endswith("[x]") and len(fitting := _named_type(made, sliced, slice_name)) == 1:
            made["type"] = fitting
        self._insert_after(sliced, copy, with_slices=True)
        return made

    def _choice(self, id: str, parent: str, name: str) -> Definition:
        """`Observation.valueQuantity` for the `Observation.value[x]` of the base."""
        for element in list(self._elements):
            stem = element.removesuffix("[x]")
            if element != stem and element.rpartition(".")[0] == parent and id.startswith(stem):
                choice = self._elements[element]
                types = self._all_types.setdefault(element, choice.get("type", []))
                named = [t for t in types if _capitalised(t["code"]) == id[len(stem) :]]
                if named:
                    made = self._ensure(f"{element}:{name}")
                    # This notation limits the choice to the named types.
                    self._named_types.setdefault(element, []).extend(named)
                    choice["type"] = [t for t in types if t in self._named_types[element]]
                    choice["slicing"] = {**BY_TYPE, "rules": "closed"}
                    return made
        raise StartupError(f"{self._where}: {id}: the base has no such element")

    def _unfold(self, id: str) -> None:
        """Inserts the children of an element's type below it."""
        parts = self._snapshots.children(self._elements[id], self._where, self._bases)
        if not parts:
            raise StartupError(f"{self._where}: {id}: its type has no children")
        root = next(iter(parts))
        copy = {id + e[len(root) :]: _renamed(d, id + e[len(root) :]) for e, d in parts.items() if e != root}
        self._insert_after(id, copy, with_slices=False)

    def _insert_after(self, id: str, more: Mapping[str, Definition], *, with_slices: bool) -> None:
        """Inserts elements after the element `id` and its children (and its slices)."""
        ends = (id + ".", id + ":", id + "/") if with_slices else (id + ".",)
        out: dict[str, Definition] = {}
        rest: dict[str, Definition] = {}
        for key, value in self._elements.items():
            before = not rest or key.startswith(ends)
            if key == id:
                out[key] = value
                rest[key] = value  # from here on, look for its children
            elif before:
                out[key] = value
            else:
                rest[key] = value
        rest.pop(id, None)
        self._elements = {**out, **more, **rest}


def _renamed(definition: Definition, id: str) -> Definition:
    path = ".".join(part.partition(":")[0] for part in id.split("."))
    return {**definition, "id": id, "path": path}


def _named_type(definition: Definition, sliced: str, slice_name: str) -> list[Any]:
    """The types of a choice that the name of a slice selects: `valueQuantity` of `value[x]`."""
    stem = sliced.rpartition(".")[2].removesuffix("[x]")
    return [t for t in definition.get("type", ()) if stem + _capitalised(t["code"]) == slice_name]


def _capitalised(code: str) -> str:
    return code[:1].upper() + code[1:]
