"""gunicorn with our settings: the app is built once, before the fork, and its memory is shared by all workers."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication

from fhirstore.commands.background import Background
from fhirstore.commands.worker import Log, Worker
from fhirstore.errors import StartupError
from fhirstore.tls.context import Contexts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    Make = Callable[[], WSGIApplication]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listen:
    """How the process listens and logs; what it serves stands in Settings."""

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


def gunicorn_settings(listen: Listen) -> dict[str, Any]:
    """Settings of gunicorn; the floor server of benchmarks/ uses the same."""
    return {
        "bind": listen.address,
        "workers": listen.workers,
        "worker_class": Worker,
        "logger_class": Log,
        "threads": listen.threads,
        "preload_app": True,
        "keepalive": 75,
        "timeout": 60,
        "graceful_timeout": 30,
        "limit_request_line": 8190,
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
        "control_socket_disable": True,
        "accesslog": "-" if listen.access_log else None,
        "loglevel": listen.log_level,
    }


class _Gunicorn(BaseApplication):  # type: ignore[misc]
    """again: makes the application afresh when the process is told to reload (SIGHUP)."""

    def __init__(self, app: WSGIApplication, settings: Mapping[str, Any], again: Make | None = None) -> None:
        self._app, self._settings, self._again = app, settings, again
        super().__init__(prog="fhirstore")

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        return self._app

    def reload(self) -> None:
        """Called before new workers replace the old ones. What cannot start leaves the application as it is."""
        super().reload()
        if self._again is None:
            return
        gc.unfreeze()
        try:
            self.callable = self._app = self._again()
        except StartupError as e:
            log.error("nothing was read again, the server goes on as before: %s", e)
        except Exception:
            log.exception("nothing was read again, the server goes on as before")
        gc.collect()
        gc.freeze()


def check_address(listen: Listen) -> None:
    """Raises StartupError when nothing can listen there (gunicorn itself would try again for seconds)."""
    try:
        family, _, _, _, address = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as e:
        raise StartupError(
            f"cannot listen on {listen.address}: {e.strerror}; choose another with --host and --port."
        ) from None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What gunicorn is told of the settings. tls: None = HTTP without TLS. proxies: addresses whose headers count."""

    tls: Contexts | None = None
    proxies: tuple[str, ...] = ()

    def gunicorn_settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.proxies:
            found["forwarded_allow_ips"] = ",".join(self.proxies)
        if self.tls is not None:
            current = self.tls.current
            # The files are named to make gunicorn speak TLS; it asks for the context at each connection.
            found |= {"certfile": self.tls.cert, "ssl_context": lambda conf, default: current()}
        return found


def run(
    app: WSGIApplication,
    listen: Listen,
    ready: Callable[[int], None],
    again: Make | None = None,
    around: Surroundings | None = None,
    background: Background | None = None,
) -> None:
    """Serves until the process is told to stop. ready: called with the port once requests are accepted. again: makes
    the application afresh on SIGHUP; None = the workers start afresh with the same one. background: work beside the
    requests."""

    def when_ready(arbiter: Any) -> None:
        ready(arbiter.LISTENERS[0].sock.getsockname()[1])

    hooks: dict[str, Any] = {"when_ready": when_ready}
    if background is not None:
        hooks["post_worker_init"] = lambda worker: background.start()
        hooks["worker_exit"] = lambda arbiter, worker: background.stop()
    gc.collect()
    gc.freeze()
    settings = gunicorn_settings(listen) | (around or Surroundings()).gunicorn_settings()
    _Gunicorn(app, settings | hooks, again).run()
