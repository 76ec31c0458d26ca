"""https://hl7.org/fhir/R4/narrative.html#Narrative.div: a narrative contains formatting only, and is not empty.

The elements and attributes of chapters 7 to 11 (except section 9.4) and 15 of HTML 4.0, `a`, images and `style` are
allowed. Scripts, forms, frames, objects, event handlers and links that run code are not. The narrative is XML in the
namespace of XHTML, so entities of HTML such as &nbsp; are not defined.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from xml.parsers import expat

from fhirstore.model.messages import Message

_ELEMENTS = (
    "a abbr acronym address area b bdo big blockquote br caption cite code col colgroup dd del dfn div dl dt em "
    "h1 h2 h3 h4 h5 h6 hr i img ins kbd li map ol p pre q samp small span strong sub sup table tbody td tfoot th thead "
    "tr tt ul var"
)
_ATTRIBUTES = (
    "abbr accesskey align alt axis border cellpadding cellspacing char charoff charset cite class colspan coords "
    "datetime dir frame headers height href hreflang id ismap lang longdesc name nohref noshade rel rev rowspan rules "
    "scope shape size space span src start style summary tabindex title type usemap valign value width xml:base "
    "xml:lang xml:space xmlns"
)
ELEMENTS = frozenset(_ELEMENTS.split())
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)\w+;")
_MAX_ENTITY = 40
_UNDEFINED_ENTITY = expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]
_IGNORED = re.compile(r"[\x00-\x20]+")
"""Characters that browsers ignore around and inside the scheme of a URL: https://url.spec.whatwg.org/#url-parsing."""
_CODE = re.compile(r"(?:javascript|vbscript):", re.IGNORECASE)
_DATA, _IMAGE = re.compile(r"data:", re.IGNORECASE), re.compile(r"data:image/", re.IGNORECASE)
XHTML = "http://www.w3.org/1999/xhtml"
_LINKS = frozenset({"href", "src", "longdesc", "cite", "usemap", "xml:base"})


@lru_cache(maxsize=256)
def narrative_errors(div: str) -> tuple[tuple[str, Message], ...]:
    """(invariant, message) for each error in the XHTML of a narrative. The invariant is txt-1 or txt-2."""
    return tuple(dict.fromkeys(_errors(div)))


def _errors(div: str) -> Iterator[tuple[str, Message]]:
    reader = _Reader()
    try:
        reader.read(div)
    except expat.ExpatError as e:
        entity = reader.undefined_entity(div) if e.code == _UNDEFINED_ENTITY else None
        if entity is not None:
            text = Message(
                "txt-1: the entity {entity} is not defined in XML; use the character itself or its number "
                "[constraint txt-1 of Narrative]",
                entity=entity,
            )
        else:
            text = Message(
                "txt-1: the narrative is not well-formed XHTML: {reason} [constraint txt-1 of Narrative]", reason=e
            )
        yield "txt-1", text
        return
    yield from (("txt-1", text) for text in reader.errors)
    if not reader.has_content:
        text = Message("txt-2: the narrative contains neither text nor an image [constraint txt-2 of Narrative]")
        yield "txt-2", text


class _Reader:
    """Parses XHTML. It refuses a DOCTYPE, so that no entity is expanded."""

    def __init__(self) -> None:
        self.errors: list[Message] = []
        self._is_inside = False
        self.has_content = False
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._start
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._doctype

    def read(self, text: str) -> None:
        self._parser.Parse(text.encode("utf-8"), True)

    def undefined_entity(self, text: str) -> str | None:
        """The entity at which parsing ended."""
        rest = text.encode("utf-8")[self._parser.ErrorByteIndex :].decode("utf-8", "replace")
        found = _ENTITY.search(rest)
        return found[0][:_MAX_ENTITY] if found is not None else None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if not self._is_inside and attributes.get("xmlns") != XHTML:
            text = Message(
                'txt-1: the <div> is not in the namespace of XHTML: xmlns="{namespace}" is required '
                "[constraint txt-1 of Narrative]",
                namespace=XHTML,
            )
            self.errors.append(text)
        self._is_inside = True
        if name not in ELEMENTS:
            self.errors.append(
                Message("txt-1: <{name}> is not allowed in a narrative [constraint txt-1 of Narrative]", name=name[:40])
            )
        self.has_content = self.has_content or name == "img"
        for key, value in attributes.items():
            if key not in ATTRIBUTES:
                self.errors.append(
                    Message(
                        "txt-1: the attribute {key} of <{name}> is not allowed [constraint txt-1 of Narrative]",
                        key=key[:40],
                        name=name[:40],
                    )
                )
            elif key in _LINKS:
                self._check_link(name, key, _IGNORED.sub("", value))

    def _check_link(self, name: str, key: str, url: str) -> None:
        """url: without the characters that browsers ignore."""
        if _CODE.match(url):
            self.errors.append(
                Message(
                    "txt-1: {key} of <{name}> would run code [constraint txt-1 of Narrative]", key=key, name=name[:40]
                )
            )
        elif _DATA.match(url) and not (name == "img" and key == "src" and _IMAGE.match(url)):
            self.errors.append(
                Message(
                    "txt-1: {key} of <{name}> contains data; only the src of an <img> may, as data:image/… [constraint "
                    "txt-1 of Narrative]",
                    key=key,
                    name=name[:40],
                )
            )

    def _text(self, text: str) -> None:
        self.has_content = self.has_content or not text.isspace()

    def _doctype(self, *declared: object) -> None:
        self.errors.append(Message("txt-1: a DOCTYPE is not allowed in a narrative [constraint txt-1 of Narrative]"))
        raise expat.ExpatError("DOCTYPE is not allowed")
