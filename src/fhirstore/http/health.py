"""/health/live: the process responds. /health/ready: the store can be read and written, and plugins are ready."""

from __future__ import annotations

from flask import Response, request

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.http.clients import Clients
from fhirstore.http.respond import json_response
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError


class Health:
    def __init__(self, server: Server, clients: Clients):
        self.server, self.clients = server, clients

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
        status = 503 if any(i.is_error for i in issues) else 200
        if issues and not self.clients.is_known(request.environ):
            # callers without a certificate learn the state, but no address of a database
            issues = (
                [Issue("error", "transient", Message("The server is not ready; its log says why."))]
                if status > 200
                else []
            )
        return json_response(dumps(outcome(*issues)), status)
