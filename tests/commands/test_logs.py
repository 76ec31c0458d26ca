"""Log lines, captured as a terminal or a log collector gets them."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from gunicorn.config import Config

from fhirstore.commands.gunicorn_worker import GunicornLogger
from fhirstore.commands.logs import logging_config

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _fresh_context() -> Iterator[None]:
    structlog.contextvars.clear_contextvars()
    access = logging.getLogger("gunicorn.access")
    handlers = access.handlers[:]
    yield
    access.handlers[:] = handlers
    structlog.contextvars.clear_contextvars()


Capture = pytest.CaptureFixture[str]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["fhirstore.http", "fhirstore_sas.relay.run", "gunicorn.error", "pymongo.client"])
def test_a_json_line_has_the_request_id_and_is_complete(name: str, capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("info", "json"))
    structlog.contextvars.bind_contextvars(request_id="r-1")

    logging.getLogger(name).warning("é: %s", "value")

    written = capsys.readouterr().err
    (line,) = json_lines(written)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "é: value", "level": "warning", "logger": name, "request_id": "r-1"}
    assert "é" in written


def test_a_text_line_has_the_request_id(capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("info", "text"))
    structlog.contextvars.bind_contextvars(request_id="r-1")

    logging.getLogger("fhirstore.http").warning("slow")

    written = capsys.readouterr().err
    assert "slow" in written
    assert "request_id=r-1" in written


def test_a_line_outside_a_request_has_no_request_id(capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("info", "json"))
    logging.getLogger("fhirstore").warning("started")
    assert "request_id" not in json_lines(capsys.readouterr().err)[0]


def test_lines_below_the_level_are_left_out(capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("error", "text"))
    logging.getLogger("fhirstore").warning("minor")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_shows_no_local_variables(format: str, capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("error", format))

    def fail(password: str) -> None:
        raise LookupError(f"{len(password)} characters")

    try:
        fail("".join(SECRET))
    except LookupError:
        logging.getLogger("fhirstore").exception("failed")

    written = capsys.readouterr().err
    assert "LookupError: 7 characters" in written
    assert SECRET not in written


FORMATS = pytest.mark.parametrize("format", ["text", "json"])


def logged(format: str, capsys: Capture, problem: Exception) -> str:
    """The line for an exception, and the lines of its traceback."""
    logging.config.dictConfig(logging_config("error", format))
    try:
        raise problem
    except Exception:
        logging.getLogger("fhirstore").exception("failed")
    return capsys.readouterr().err


@FORMATS
@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (KeyError("Durand"), "KeyError: '…'"),
        (ValueError("invalid literal for int() with base 10: 'Durand'"), "with base 10: '…'"),
        (ValueError('dup key: { _id: "Patient/Durand" }'), "dup key: { _id: "),
        (ValueError("can't read 'it\\'s Durand' here"), "can't read '…' here"),
        (ValueError("open 'Durand"), "open '…'"),
        (ValueError("x" * 300 + "Durand"), "xxx…"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_traceback_quotes_no_values(format: str, problem: Exception, expected: str, capsys: Capture) -> None:
    written = logged(format, capsys, problem)
    assert "Durand" not in written
    assert expected in written
    assert "test_logs.py" in written


@FORMATS
def test_a_traceback_names_files_of_the_system(format: str, capsys: Capture) -> None:
    written = logged(format, capsys, FileNotFoundError(2, "No such file or directory", "/data/store.db"))
    assert "No such file or directory: '/data/store.db'" in written


@FORMATS
def test_a_traceback_has_the_causes(format: str, capsys: Capture) -> None:
    cause = LookupError("first")
    cause.__cause__ = ValueError("root of it")
    problem = RuntimeError("second")
    problem.__cause__ = cause
    written = logged(format, capsys, problem)
    found = [written.index(text) for text in ("ValueError: root of it", "LookupError: first", "RuntimeError: second")]
    assert found == sorted(found)


@FORMATS
def test_a_deep_recursion_gives_a_short_traceback(format: str, capsys: Capture) -> None:
    def down(n: int) -> int:
        return up(n) + 1

    def up(n: int) -> int:
        return down(n + 1)

    logging.config.dictConfig(logging_config("error", format))
    try:
        down(0)
    except RecursionError:
        logging.getLogger("fhirstore").exception("failed")
    written = capsys.readouterr().err
    assert "RecursionError: maximum recursion depth exceeded" in written
    assert len(written) < 10_000
    assert "frames are left out" in written


@FORMATS
def test_control_characters_of_fields_are_escaped(format: str, capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("info", format))
    logging.getLogger("gunicorn.access").info("request", extra={"path": "/fhir/\x1b[31m\nforged\u2028"})
    written = capsys.readouterr().out
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_value_of_a_client_cannot_forge_a_line(format: str, capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("error", format))
    logging.getLogger("fhirstore").error("name %s", "x\nforged \x1b[31m")
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 1
    assert "\x1b" not in written


def test_an_access_line_goes_to_stdout_with_the_request_id_and_without_the_query(capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("warning", "json"))
    cfg = Config()
    cfg.set("accesslog", "-")
    logger = GunicornLogger(cfg)
    environ = {
        "fhirstore.request_id": "r-1",
        "REMOTE_ADDR": "127.0.0.1",
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/fhir/Patient",
        "QUERY_STRING": "family=Durand",
        "RAW_URI": "/fhir/Patient?family=Durand",
    }

    logger.access(SimpleNamespace(status="200 OK", sent=12), None, environ, timedelta(milliseconds=1.5))

    written = capsys.readouterr()
    (line,) = json_lines(written.out)
    expected = {"event": "request", "request_id": "r-1", "method": "GET", "path": "/fhir/Patient", "status": "200"}
    assert {name: line[name] for name in expected} == expected
    assert (line["bytes"], line["ms"], line["client"]) == (12, 1.5, "127.0.0.1")
    assert "Durand" not in written.out
    assert written.err == ""


def test_no_access_line_is_written_by_default(capsys: Capture) -> None:
    logging.config.dictConfig(logging_config("warning", "json"))
    GunicornLogger(Config()).access(SimpleNamespace(status="200 OK", sent=0), None, {}, timedelta())
    assert capsys.readouterr().out == ""
