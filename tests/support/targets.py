"""Requests with the exact target that a client sends."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from werkzeug.test import TestResponse

from support.api import JSON, Api

CERTIFIED: dict[str, Any] = {
    "tls_client": "required",
    "client_cert_header": "X-Cert",
    "trusted_proxies": ("10.0.0.1",),
}
"""Settings of a server that requires certificates."""


def ask(api: Api, target: str, method: str = "GET", body: bytes = b"", **environ: str) -> TestResponse:
    """A request with this target as gunicorn passes it on: RAW_URI as sent, PATH_INFO decoded."""
    path = target.partition("?")[0]
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    given = {"RAW_URI": target, "PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "REMOTE_ADDR": "127.0.0.1"}
    content = {"data": body, "content_type": JSON} if body else {}
    return api.client.open("/", method=method, environ_overrides=given | environ, **content)
