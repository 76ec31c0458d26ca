"""Runs the application under gunicorn. It is built before the fork, so that the workers share its memory."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from fhirstore.commands.background import Background
from fhirstore.commands.gunicorn_worker import GunicornLogger, HttpWorker
from fhirstore.errors import StartupError
from fhirstore.settings import Settings
from fhirstore.tls.context import ReloadingTlsContext

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    MakeApplication = Callable[[], WSGIApplication]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessOptions:
    """Options of the server process: its address, its workers and its logs. Settings has everything else."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 2
    threads: int = 4
    log_level: str = "warning"
    log_format: str = "text"
    access_log: bool = False

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """TLS of connections (None: plain HTTP), and the settings with their limits."""

    tls: ReloadingTlsContext | None = None
    settings: Settings = field(default_factory=Settings)

    def gunicorn_settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = {}
        if self.tls is not None:
            current = self.tls.current
            # certfile makes gunicorn use TLS; it calls ssl_context for each connection.
            settings |= {"certfile": self.tls.cert, "ssl_context": lambda conf, default: current()}
        return settings


def gunicorn_settings(options: ProcessOptions) -> dict[str, Any]:
    """The settings of gunicorn, shared with the floor server of benchmarks/."""
    return {
        "bind": options.address,
        "workers": options.workers,
        "worker_class": HttpWorker,
        "logger_class": GunicornLogger,
        "threads": options.threads,
        "preload_app": True,
        "timeout": 60,
        "graceful_timeout": 30,
        "limit_request_line": 8190,
        # No header changes the environment of a request; http/proxies.py reads those of trusted proxies.
        "forwarded_allow_ips": "",
        "forwarder_headers": "",
        "secure_scheme_headers": {},
        "header_map": "drop",
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
        "control_socket_disable": True,
        "accesslog": "-" if options.access_log else None,
        "loglevel": options.log_level,
    }


def check_address(options: ProcessOptions) -> None:
    """Raises StartupError if the address is unavailable. gunicorn itself retries for seconds."""
    try:
        family, _, _, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as e:
        raise StartupError(
            f"cannot listen on {options.address}: {e.strerror}. Choose another address with --host and --port."
        ) from None


def run(
    app: WSGIApplication,
    options: ProcessOptions,
    on_ready: Callable[[int], None],
    make_application: MakeApplication | None = None,
    connections: ConnectionSettings | None = None,
    background: Background | None = None,
) -> None:
    """Serves until the process is stopped.

    on_ready: called with the port once the server accepts requests. make_application: builds a new application on
    SIGHUP; None restarts the workers with the same one. background: work beside the requests.
    """

    def when_ready(arbiter: Any) -> None:
        on_ready(arbiter.LISTENERS[0].sock.getsockname()[1])

    hooks: dict[str, Any] = {"when_ready": when_ready}
    if background is not None:
        hooks["post_worker_init"] = lambda worker: background.start()
        hooks["worker_exit"] = lambda arbiter, worker: background.stop()
    gc.collect()
    gc.freeze()
    connections = connections or ConnectionSettings()
    settings = gunicorn_settings(options) | connections.gunicorn_settings() | hooks
    _GunicornServer(app, settings, connections.settings, make_application).run()


class _GunicornServer(BaseApplication):  # type: ignore[misc]
    """settings: those of gunicorn. connection_settings: those that HttpWorker reads.

    make_application: builds a new application when the process reloads (SIGHUP).
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: Mapping[str, Any],
        connection_settings: Settings,
        make_application: MakeApplication | None = None,
    ) -> None:
        self._app, self._settings, self._make_application = app, settings, make_application
        self.connection_settings = connection_settings
        super().__init__(prog="fhirstore")

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        return self._app

    def reload(self) -> None:
        """Runs before new workers replace the old ones. If the new application cannot start, the old one stays."""
        super().reload()
        if self._make_application is None:
            return
        gc.unfreeze()
        try:
            self.callable = self._app = self._make_application()
        except StartupError as e:
            log.error("reload failed, the previous definitions stay in effect: %s", e)
        except Exception:
            log.exception("reload failed, the previous definitions stay in effect")
        gc.collect()
        gc.freeze()
