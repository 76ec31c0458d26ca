"""Log configuration: one structlog formatter for our loggers, gunicorn and libraries, as text or as JSON lines.

Each line carries what `structlog.contextvars.bind_contextvars` has bound in its context, in particular `request_id`.
Messages go to stderr, access lines to stdout. Tracebacks contain no values of resources.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

import structlog

ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_FRAMES, _CHAIN, _TEXT = 30, 4, 300
"""The most frames of a traceback, exceptions of a chain, and characters of a message that are logged."""
_HARMLESS = (OSError, AttributeError, NameError, ImportError)
"""Exceptions whose messages quote names of files or of the code, not values."""
_QUOTED = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1).)*(?:\1|\Z)""", re.DOTALL)


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
    # The tracebacks of structlog's default (rich) take seconds and print local variables, secrets among them.
    if format == "json":
        return [
            structlog.processors.ExceptionRenderer(exception_text),
            structlog.processors.JSONRenderer(ensure_ascii=False),
            _escape_in_json,
        ]
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=_write_exception)
    return [_escape_control_characters, console]


def _escape_control_characters(logger: object, method: str, event: Any) -> Any:
    """Keeps a line on one line: its message and its fields may quote values of clients. JSON escapes them by itself."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = _printable(value)
    return event


def _escape_in_json(logger: object, method: str, line: Any) -> str:
    """JSON allows some characters that end a line or change its direction."""
    text: str = line
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _write_exception(stream: TextIO, info: ExceptionInfo) -> None:
    stream.write(f"\n{exception_text(info)}")


def exception_text(exc_info: ExceptionInfo) -> str:
    """The traceback of an exception and of its causes, without local variables.

    Quoted parts of messages are left out, because they may be values of resources."""
    return "\n".join(reversed([_described(problem) for problem in _chain(exc_info[1])]))


def _chain(problem: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = problem
    for _ in range(_CHAIN):
        if following is None:
            return
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _described(problem: BaseException) -> str:
    frames = traceback.extract_tb(problem.__traceback__)
    left_out = f"  {len(frames) - _FRAMES} frames are left out\n" if len(frames) > _FRAMES else ""
    lines = "".join(traceback.StackSummary.from_list(frames[-_FRAMES:]).format())
    message = str(problem) if isinstance(problem, _HARMLESS) else _QUOTED.sub(r"\1…\1", str(problem))
    shown = _printable(message[:_TEXT]) + ("…" if len(message) > _TEXT else "")
    return f"Traceback (most recent call last):\n{left_out}{lines}{type(problem).__name__}: {shown}"
