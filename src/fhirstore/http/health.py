"""/health/live: the process responds. /health/ready: the store can be written, and plugins are ready."""

from __future__ import annotations

import threading
import time

from flask import Response, request

from fhirstore.errors import Issue, outcome
from fhirstore.formats.json import dumps
from fhirstore.http.clients import Clients
from fhirstore.http.target import Hosts, is_loopback
from fhirstore.http.views import json_response
from fhirstore.interactions.server import Server
from fhirstore.model.messages import Message
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import Store

PROBE_INTERVAL_S = 1.0
"""Anyone may check the health, and a probe costs a commit."""
CLOCK_TOLERANCE_S = 60.0


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


class StoreProbe:
    """Probes the store at most once per interval. Meanwhile, and during a probe that takes longer, callers get the last
    result. Threads may share it.

    problem: why the store cannot be written, None if it can. clock_ahead_s: seconds from now to the newest version in
    the store, 0 if that is in the past."""

    def __init__(self, store: Store):
        self._store = store
        self._lock = threading.Lock()
        self._next: float | None = None
        self.problem: StoreError | None = None
        self.clock_ahead_s = 0.0

    def refresh(self) -> None:
        if self._next is not None and time.monotonic() < self._next:
            return
        if not self._lock.acquire(blocking=self._next is None):
            return
        try:
            newest = self._store.probe()
            self.problem, self.clock_ahead_s = None, max(0.0, newest / 1e6 - time.time())
        except StoreError as problem:
            self.problem = problem
        finally:
            self._next = time.monotonic() + PROBE_INTERVAL_S
            self._lock.release()


class Health:
    def __init__(
        self, server: Server, clients: Clients, hosts: Hosts, probe: StoreProbe, listening_on: str | None
    ) -> None:
        self.server, self._clients, self._hosts, self._probe = server, clients, hosts, probe
        self._warning = unprotected(server, listening_on)

    def live(self) -> Response:
        return json_response(dumps(outcome()))

    def ready(self) -> Response:
        issues = self._of_store()
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

    def _of_store(self) -> list[Issue]:
        self._probe.refresh()
        problem, ahead_s = self._probe.problem, self._probe.clock_ahead_s
        if problem is not None:
            return [Issue("error", "transient", Message("The store is not ready: {reason}", reason=problem))]
        if ahead_s > CLOCK_TOLERANCE_S:
            text = Message(
                "The newest version in the store is {seconds} s ahead of the clock of this server. Until then, all new "
                "versions get the time of that version (docs/cli.md).",
                seconds=round(ahead_s),
            )
            return [Issue("warning", "processing", text)]
        return []
