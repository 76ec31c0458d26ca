"""Bundles, their entries, and what a server answers to them."""

from __future__ import annotations

import uuid
from typing import Any


def request(
    method: str, url: str, resource: dict[str, Any] | None = None, full: str | None = None, **more: str
) -> dict[str, Any]:
    entry: dict[str, Any] = {"request": {"method": method, "url": url, **more}}
    if resource is not None:
        entry["resource"] = resource
    if full is not None:
        entry["fullUrl"] = full
    return entry


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


def statuses(answer: Any) -> list[str]:
    return [e["response"]["status"][:3] for e in answer.get_json()["entry"]]


def urn() -> str:
    return f"urn:uuid:{uuid.uuid4()}"


def observation(subject: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": subject},
        **more,
    }
