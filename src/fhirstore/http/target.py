"""The target of a request: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.

Paths must be canonical, so that the server, a proxy in front of it and a reader of the log see the same path. Hosts
must be known, because the owner of any name can let it point to this machine. To a browser, a web page under such a
name has the same origin as this server (DNS rebinding).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from fhirstore.errors import FhirError, error
from fhirstore.http.proxies import ip_address
from fhirstore.model.messages import Message
from fhirstore.settings import Settings
from fhirstore.tls.certificates import host_names

Environ = dict[str, Any]

PLAIN_TARGET = re.compile(r"(?:/(?!\.\.?(?:[/?]|\Z))[A-Za-z0-9\-._~!$&'()*+,;=:@]+)*/?(?:\?|\Z)").match
"""Matches a canonical target without percent-encoded characters in its path."""
_INVALID = re.compile(r"%(?![0-9A-Fa-f]{2})|#")
_SEPARATORS = re.compile(r"[\x00-\x1f\x7f/\\]")
_HOST = re.compile(r"(?P<name>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_MAX_PORT = 65535
DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def check_target(environ: Environ) -> None:
    """Raises 400 unless the path of the target is canonical and names what PATH_INFO names.

    The authority of a target in absolute form replaces the Host header
    (https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2)."""
    target: str = environ.get("RAW_URI") or environ["PATH_INFO"]
    path = target.partition("?")[0]
    scheme, mark, rest = path.partition("://")
    if mark and scheme.lower() in ("http", "https"):
        authority, slash, below = rest.partition("/")
        environ["HTTP_HOST"], path = authority, slash + below
    if not _is_canonical(path, environ):
        text = Message(
            "The path {path} is not canonical. Use no empty segments, no . or .. segments, no fragment, and no encoded "
            "slash, backslash or control character.",
            path=repr(target.partition("?")[0][:120]),
        )
        raise error(400, "invalid", text)


def _is_canonical(path: str, environ: Environ) -> bool:
    """Whether the segments are unambiguous, and those of PATH_INFO. An empty path is that of an absolute form."""
    if path in ("", "/"):
        return bool(environ["PATH_INFO"].strip("/") == "")
    if not path.startswith("/") or _INVALID.search(path):
        return False
    segments = [unquote_to_bytes(segment) for segment in path[1:].removesuffix("/").split("/")]
    for segment in segments:
        try:
            text = segment.decode()
        except UnicodeDecodeError:
            return False
        if text in ("", ".", "..") or _SEPARATORS.search(text):
            return False
    return bool(environ["PATH_INFO"].encode("latin-1").removesuffix(b"/") == b"/" + b"/".join(segments))


class Hosts:
    """The hosts that requests may name. Threads may share it.

    is_listed: whether a Host header names a listed host, on any port."""

    def __init__(self, names: Iterable[str]):
        """names: host names, "*.example.org" for all names one level below, "*" for all. Names of this machine
        (localhost, 127.0.0.1, ::1) are always listed."""
        given = [name.lower().strip("[]") for name in names]
        self._accepts_all = "*" in given
        self._names = frozenset(name for name in given if not name.startswith("*"))
        self._suffixes = frozenset(name[1:] for name in given if name.startswith("*."))
        self.is_listed = lru_cache(maxsize=1024)(self._is_listed)

    def accepts(self, environ: Environ) -> bool:
        """Whether the request names a listed host, or the address at which it arrived. Only HTTP/1.0 may name none."""
        host: str | None = environ.get("HTTP_HOST")
        if host is None:
            return bool(environ.get("SERVER_PROTOCOL") == "HTTP/1.0")
        name = _name(host)
        return name is not None and (self.is_listed(host) or name == _local_address(environ))

    def check(self, environ: Environ) -> None:
        """Raises 400 without a Host header, 421 for an unknown host."""
        if not self.accepts(environ):
            raise _unknown_host(environ.get("HTTP_HOST"))

    def _is_listed(self, host: str | None) -> bool:
        name = _name(host or "")
        if name is None:
            return False
        if self._accepts_all or name in self._names or is_loopback(name):
            return True
        return name[name.find(".") :] in self._suffixes


def _unknown_host(host: str | None) -> FhirError:
    if not host:
        return error(400, "required", Message("The Host header is required."), "http.Host")
    text = Message(
        "The host {host} is not one of this server. Use the host of the base URL (settings base_url, allowed_hosts).",
        host=repr(host[:120]),
    )
    return error(421, "security", text, "http.Host")


def _name(host: str) -> str | None:
    """The name in a Host header, without brackets and port; None if it is malformed."""
    found = _HOST.fullmatch(host.lower())
    if found is None or int(found["port"] or 0) > _MAX_PORT:
        return None
    name = found["name"]
    if name.startswith("[") and ip_address(name.strip("[]")) is None:
        return None
    return name.strip("[]").removesuffix(".")


def _local_address(environ: Environ) -> str | None:
    """The address of this machine at which the connection arrived."""
    connection = environ.get("gunicorn.socket")
    if connection is None:
        return None
    try:
        return str(ip_address(connection.getsockname()[0]))
    except OSError:  # the client has gone
        return None


def is_loopback(host: str) -> bool:
    """Whether a host name or an address is that of this machine only."""
    address = ip_address(host)
    return host == "localhost" if address is None else address.is_loopback


def make_hosts(settings: Settings, listening_on: str | None) -> Hosts:
    """The hosts of the settings base_url and allowed_hosts, of the server certificate, and of the listening address."""
    names = list(settings.allowed_hosts)
    if settings.base_url:
        names.append(urlsplit(settings.base_url).hostname or "")
    if settings.tls_cert:
        names += host_names(Path(settings.tls_cert).read_bytes())
    if listening_on not in (None, "", "0.0.0.0", "::"):
        names.append(listening_on)
    return Hosts(names)


def origin_of(url: str) -> str:
    """The origin of an absolute URL: https://www.rfc-editor.org/rfc/rfc6454#section-6.2."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(DEFAULT_PORTS.get(parts.scheme, ''))}"


def check_origin(environ: Environ, origins: Iterable[str]) -> None:
    """Raises 403 for a change that a page of another origin requests. origins: those that may, "*" for all.

    A page of the requested host has the same origin as this server; a proxy may have changed the scheme."""
    origin: str = environ["HTTP_ORIGIN"]
    scheme, _, authority = origin.lower().partition("://")
    port = DEFAULT_PORTS.get(scheme, "")
    host = environ.get("HTTP_HOST", "").lower().removesuffix(port)
    if "*" in origins or origin in origins or (port and authority.removesuffix(port) == host):
        return
    text = Message(
        "Pages of {origin} may not change data on this server (setting cors_origins).", origin=repr(origin[:120])
    )
    raise error(403, "forbidden", text, "http.Origin")
