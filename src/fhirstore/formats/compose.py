"""A resource as the store keeps it, and back: head + meta + rest, so that no stored byte is parsed to be sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from typing import Any

from fhirstore.formats.json import members

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")


def instant(microseconds: int) -> str:
    """Microseconds since 1970 as a FHIR instant in UTC: 2026-11-23T10:00:00.000Z."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{rest // 1000:03d}Z"


def http_date(microseconds: int) -> str:
    """Microseconds since 1970 as an HTTP date (Last-Modified), rounded down to the second."""
    return format_datetime(_EPOCH + timedelta(seconds=microseconds // 1_000_000), usegmt=True)


def split(resource: dict[str, Any]) -> tuple[bytes, bytes]:
    """(meta, body) as `Stored` keeps them: meta without versionId and lastUpdated, body without resourceType,
    id and meta; both JSON members without braces, in the sender's property order."""
    meta = resource.get("meta")
    kept = {k: v for k, v in meta.items() if k not in _SERVER_META} if isinstance(meta, dict) else {}
    body = {k: v for k, v in resource.items() if k not in _HEAD}
    return members(kept), members(body)


_SERVER_META = frozenset(("versionId", "lastUpdated", "_versionId", "_lastUpdated"))
_HEAD = frozenset(("resourceType", "id", "meta"))


def compose_parts(type: str, id: str, version: int, updated: int, meta: bytes, body: bytes) -> bytes:
    """The JSON of a resource from its parts."""
    head = f'{{"resourceType":"{type}","id":"{id}","meta":{{"versionId":"{version}","lastUpdated":"{instant(updated)}"'
    return b"".join((head.encode(), b"," if meta else b"", meta, b"}," if body else b"}", body, b"}"))


def compose(stored: Any) -> bytes:
    """The JSON of a stored version (anything with the fields of `model.stored.Stored`)."""
    return compose_parts(stored.type, stored.id, stored.version, stored.updated, stored.meta, stored.body)
