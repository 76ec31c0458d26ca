"""Log configuration: one structlog formatter for our loggers, gunicorn and libraries, as text or as JSON lines.

Each line carries what `structlog.contextvars.bind_contextvars` has bound in its context, in particular `request_id`.
Messages go to stderr, access lines to stdout.
"""

from __future__ import annotations

from typing import Any

import structlog


def logging_config(level: str, format: str) -> dict[str, Any]:
    """A configuration for logging.config.dictConfig. level: debug, info, warning or error. format: text or json."""
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(format)],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {stream: _handler(stream) for stream in ("stderr", "stdout")},
        "root": {"level": level.upper(), "handlers": ["stderr"]},
        "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["stdout"], "propagate": False}},
    }


def _handler(stream: str) -> dict[str, Any]:
    return {"class": "logging.StreamHandler", "stream": f"ext://sys.{stream}", "formatter": "line"}


def _renderers(format: str) -> list[Any]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    # The default tracebacks of ConsoleRenderer (rich) take seconds and print local variables, secrets among them.
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return [_escape_control_characters, console]


def _escape_control_characters(logger: object, method: str, event: Any) -> Any:
    """Keeps a message on one line: it may quote values of clients. JSON escapes them by itself."""
    message = str(event["event"])
    if not message.isprintable():
        event["event"] = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return event
