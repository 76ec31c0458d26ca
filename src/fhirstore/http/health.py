"""/health/live: the process responds. /health/ready: the store can be read and written, and plugins are ready."""

from __future__ import annotations

from flask import Response, request

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.http.clients import Clients
from fhirstore.http.target import Hosts, is_loopback
from fhirstore.http.views import json_response
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError


def unprotected(server: Server, listening_on: str | None) -> Message | None:
    """A warning if other machines can reach the server, without TLS and without a rule of access. listening_on: as for
    `make_app`."""
    settings, hooks = server.settings, server.hooks
    has_rules = settings.tls_client != "off" or hooks.authenticate or hooks.authorize
    if listening_on is None or is_loopback(listening_on) or settings.tls_cert or has_rules:
        return None
    return Message(
        "Everyone who reaches {address} can read and change all data, without encryption. Listen on 127.0.0.1 behind a "
        "proxy, or set tls_cert and tls_client, or use a plugin that authorizes requests (docs/security.md).",
        address=listening_on,
    )


class Health:
    def __init__(self, server: Server, clients: Clients, hosts: Hosts, listening_on: str | None):
        self.server, self._clients, self._hosts = server, clients, hosts
        self._warning = unprotected(server, listening_on)

    def live(self) -> Response:
        return json_response(dumps(outcome()))

    def ready(self) -> Response:
        issues: list[Issue] = []
        try:
            self.server.store.probe()
        except StoreError as e:
            issues.append(Issue("error", "transient", Message("The store is not ready: {reason}", reason=e)))
        for found in self.server.plugins.hook.health(context=self.server.contexts):
            issues += found or ()
        if self._warning is not None:
            issues.append(Issue("warning", "security", self._warning))
        status = 503 if any(i.is_error for i in issues) else 200
        if issues and not (self._clients.is_known(request.environ) and self._hosts.accepts(request.environ)):
            # Other callers learn the state, but no address of a database.
            issues = (
                [Issue("error", "transient", Message("The server is not ready; its log says why."))]
                if status > 200
                else []
            )
        return json_response(dumps(outcome(*issues)), status)
