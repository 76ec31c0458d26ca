"""Links between the entries of a transaction: https://hl7.org/fhir/R4/http.html#trules.

Links are rewritten by the type of their element: references, elements of type uri and url, and the targets of `<a>` and
`<img>` in narratives. Elements of type canonical and string do not change. Neither do elements of type oid and uuid,
which cannot have the URL of a resource as their value, nor `Extension.url` and `Bundle.entry.fullUrl`, which are names.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from xml.parsers import expat

from fhirstore.definitions.core import Definitions

_CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?.+")
_LINK_TYPES = frozenset(("uri", "url"))
_NAMES = frozenset((("Extension", "url"), ("Bundle.entry", "fullUrl")))
_LINKING_TAGS = {"a": "href", "img": "src"}
_ATTRIBUTE = re.compile(rb"""\s+([^\s=>/]+)\s*=\s*("[^"]*"|'[^']*')""")
_HISTORY = "/_history/"


@dataclass(frozen=True, slots=True)
class Links:
    """What links mean in a transaction.

    targets: by fullUrl, and by the relative reference that a fullUrl completes: "Type/id". versions: by the same, the
    version that links to a version of the entry get; they keep their version if it is missing."""

    targets: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def resolve(self, link: str) -> str:
        """The link to use instead; the link itself if it names no entry. A fragment stays."""
        found = self.targets.get(link)
        if found is not None:
            return found
        base, mark, rest = link.partition("#")
        if mark and base in self.targets:
            return self.targets[base] + mark + rest
        base, mark, version = link.partition(_HISTORY)
        if not mark or base not in self.targets:
            return link
        return self.targets[base] + mark + self.versions.get(base, version)

    def without(self, urls: set[Any]) -> Links:
        if self.targets.keys().isdisjoint(urls):
            return self
        return Links({link: ref for link, ref in self.targets.items() if link not in urls}, self.versions)


def rewrite(core: Definitions, resource: dict[str, Any], links: Links, conditional: Callable[[str], str]) -> None:
    """Replaces, in place, the links to entries, and each conditional reference (Patient?identifier=…) by the result of
    `conditional`. A Bundle within the resource keeps the links between its own entries."""
    todo = [_nested(resource, links)]
    while todo:
        holder, path, links = todo.pop()
        elements = _linking_elements(core, path)
        for key, value in holder.items():
            found = elements.get(key)
            if found is None or not value:
                continue
            kind, child = found
            if kind == "element":
                todo += [(one, child, links) for one in _objects(value)]
            elif kind == "resource":
                todo += [_nested(one, links) for one in _objects(value)]
            elif isinstance(value, list):
                holder[key] = [_link(kind, one, links, conditional) for one in value]
            else:
                holder[key] = _link(kind, value, links, conditional)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in (value if isinstance(value, list) else (value,)) if isinstance(one, dict)]


def _nested(resource: dict[str, Any], links: Links) -> tuple[Any, str, Links]:
    type = str(resource.get("resourceType"))
    if type == "Bundle":
        urls = [entry.get("fullUrl") for entry in _objects(resource.get("entry"))]
        links = links.without({url for url in urls if isinstance(url, str)})
    return resource, type, links


@lru_cache(maxsize=4096)
def _linking_elements(core: Definitions, path: str) -> Mapping[str, tuple[str, str]]:
    """The properties of a node that are links or have some: (reference | uri | narrative | resource | element, path of
    the node of an element)."""
    node = core.node(path)
    found: dict[str, tuple[str, str]] = {}
    for key, (element, type) in node.keys.items() if node is not None else ():
        code = type.code
        typed = core.node(code)
        if (path, key) == ("Reference", "reference"):
            found[key] = ("reference", "")
        elif code in _LINK_TYPES and (path, key) not in _NAMES:
            found[key] = ("uri", "")
        elif code == "xhtml":
            found[key] = ("narrative", "")
        elif code == "Resource":
            found[key] = ("resource", "")
        elif element.node is not None or (typed is not None and typed.kind == "complex-type"):
            found[key] = ("element", element.node or code)
        if typed is not None and typed.kind == "primitive-type":
            found["_" + key] = ("element", "Element")
    return found


def _link(kind: str, value: Any, links: Links, conditional: Callable[[str], str]) -> Any:
    if not isinstance(value, str):
        return value
    if kind == "narrative":
        return _narrative(value, links)
    if kind == "reference":
        if "?" in value and value not in links.targets and _CONDITIONAL.match(value):
            return conditional(value)
        return links.resolve(value)
    return links.resolve(value) if ":" in value else value


# --- narratives -------------------------------------------------------------------------------------


def _narrative(div: str, links: Links) -> str:
    """The narrative with other link targets; unchanged if it is not well-formed, which validation reports."""
    if ("href" not in div and "src" not in div) or "<!DOCTYPE" in div:
        return div
    raw = div.encode("utf-8", "surrogatepass")
    changes: list[tuple[int, int, bytes]] = []
    parser = expat.ParserCreate("utf-8")

    def start(name: str, attributes: Mapping[str, str]) -> None:
        attribute = _LINKING_TAGS.get(name)
        link = attributes.get(attribute) if attribute is not None else None
        if link is not None and (target := links.resolve(link)) != link:
            begin = parser.CurrentByteIndex + 1 + len(name)
            changes.append((*_value_of(raw, begin, str(attribute)), html.escape(target).encode()))

    parser.StartElementHandler = start
    try:
        parser.Parse(raw, True)
    except expat.ExpatError:
        return div
    pieces, end = list[bytes](), 0
    for first, last, text in changes:
        pieces += (raw[end:first], text)
        end = last
    return b"".join([*pieces, raw[end:]]).decode("utf-8", "surrogatepass")


def _value_of(raw: bytes, begin: int, attribute: str) -> tuple[int, int]:
    """Where the value of an attribute starts and ends. begin: behind the name of a well-formed tag with it."""
    for found in _ATTRIBUTE.finditer(raw, begin):
        if found[1].decode() == attribute:
            return found.start(2) + 1, found.end(2) - 1
    raise LookupError(attribute)
