"""Links between the entries of a transaction: https://hl7.org/fhir/R4/http.html#trules and #references in bundles."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_CONDITIONAL = re.compile(r"[A-Z][A-Za-z]+\?.+")
# Elements of type string that may hold anything, a URN too; links stand in uri, url, oid, uuid, canonical, reference.
_TEXT = frozenset(("value", "display", "text", "comment", "description", "name", "title"))


def rewrite(resource: dict[str, Any], ids: Mapping[str, str], conditional: Callable[[str], str]) -> None:
    """Replaces, in place, each link that equals a key of `ids` by its value, and each conditional reference
    (Patient?identifier=…) by what `conditional` makes of it."""
    todo: list[Any] = [resource]
    while todo:
        holder = todo.pop()
        items = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in list(items):
            if isinstance(value, str):
                new = _link(key, value, ids, conditional)
                if new is not value:
                    holder[key] = new
            elif isinstance(value, dict | list):
                todo.append(value)


def _link(key: Any, value: str, ids: Mapping[str, str], conditional: Callable[[str], str]) -> str:
    if key == "reference":
        if value in ids:
            return ids[value]
        return conditional(value) if "?" in value and _CONDITIONAL.match(value) else value
    if key == "div":
        return _narrative(value, ids)
    if key in _TEXT or ":" not in value:
        return value
    bare, mark, rest = value.partition("#")
    return ids[bare] + mark + rest if bare in ids else value


def _narrative(div: str, ids: Mapping[str, str]) -> str:
    for link, ref in ids.items():
        if link in div:
            for attribute in ("href", "src"):
                div = div.replace(f'{attribute}="{link}"', f'{attribute}="{ref}"')
    return div
