"""The peer of a connection: this machine, a trusted proxy, or another machine. Only trusted proxies can set headers."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Any

from fhirstore.errors import error
from fhirstore.model.messages import Message

Environ = dict[str, Any]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SCHEME = "HTTP_X_FORWARDED_PROTO"
_FORWARDING = ("HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")
"""Headers by which proxies announce another client, besides X-Forwarded-…"""


class TrustedProxies:
    """The proxies of the setting trusted_proxies. Threads may share it."""

    def __init__(self, networks: tuple[str, ...]):
        self._networks = [ipaddress.ip_network(network) for network in networks]
        self._contains = lru_cache(maxsize=1024)(self._is_in_network)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def sent(self, environ: Environ) -> bool:
        """Whether the request comes from a trusted proxy."""
        return self._contains(environ.get("REMOTE_ADDR", ""))

    def apply_scheme(self, environ: Environ) -> None:
        """Sets the scheme that a trusted proxy states in X-Forwarded-Proto. Raises 400 if it states several, or another
        one than http and https."""
        if _SCHEME not in environ or not self.sent(environ):
            return
        given = {value.strip().lower() for value in environ[_SCHEME].split(",")}
        if len(given) != 1 or not given <= {"http", "https"}:
            text = Message(
                "X-Forwarded-Proto is {given}; the proxy must replace it with http or https.",
                given=repr(environ[_SCHEME][:80]),
            )
            raise error(400, "invalid", text, "http.X-Forwarded-Proto")
        (environ["wsgi.url_scheme"],) = given

    def _is_in_network(self, peer: str) -> bool:
        address = ip_address(peer)
        return address is not None and any(address in network for network in self._networks)


def is_from_this_machine(environ: Environ) -> bool:
    """Whether a process on this machine sent the request for itself. A request that a proxy forwards counts as remote,
    whatever the address of the proxy is."""
    if any(environ.get(name) for name in _FORWARDING) or any(name.startswith("HTTP_X_FORWARDED") for name in environ):
        return False
    peer = ip_address(environ.get("REMOTE_ADDR") or "")
    return peer is not None and peer.is_loopback


def ip_address(text: str) -> Address | None:
    """The address in a text, an IPv4-mapped one as IPv4; None if it is not an address."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
