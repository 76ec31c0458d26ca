"""The rights that docs/mongodb.md grants, and the commands that this process sends to MongoDB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import monitoring

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "mongodb.md"
_ROW = re.compile(r"^\| (`[a-z].*?) \| (.+?) \| .+ \|$", re.MULTILINE)
_WORD = re.compile(r"`([^`]+)`")


def documented() -> dict[str, frozenset[str]]:
    """The actions that each command needs, from the table of the guide."""
    text = GUIDE.read_text("utf-8")
    section = text[text.index("## Users and roles") : text.index("## TLS")]
    found: dict[str, frozenset[str]] = {}
    for commands, actions in _ROW.findall(section):
        for command in _WORD.findall(commands):
            assert command not in found, command
            found[command] = frozenset(_WORD.findall(actions))
    return found


def granted() -> dict[str, frozenset[str]]:
    """The actions of each role that the guide creates."""
    text = GUIDE.read_text("utf-8")
    roles = re.findall(r'createRole\(\{role: "(\w+)".*?actions: \[(.*?)\]', text, re.DOTALL)
    return {role: frozenset(re.findall(r'"(\w+)"', actions)) for role, actions in roles}


def user(*roles: str, database: str = "") -> tuple[str, str]:
    """The options of `support.replica` with which the servers of fhirstore have these roles of the guide, in one
    database or in each."""
    actions = sorted(frozenset[str]().union(*(granted()[role] for role in roles)))
    return "--grant", f"fhirstore:{database}:{','.join(actions)}"


def named(command: dict[str, Any]) -> str:
    """The command as the table has it: by its name, and its first stage where that needs a right of its own."""
    name = next(iter(command))
    if name == "aggregate" and command["pipeline"] and "$indexStats" in command["pipeline"][0]:
        return "aggregate $indexStats"
    return name


class Commands(monitoring.CommandListener):
    """Records the names and databases of commands. Register it before creating clients."""

    def __init__(self) -> None:
        self._heard: set[tuple[str, str]] | None = None

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self._heard is not None:
            self._heard.add((named(dict(event.command)), event.database_name))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass

    @contextmanager
    def heard(self) -> Iterator[set[tuple[str, str]]]:
        before, self._heard = self._heard, set()
        try:
            yield self._heard
        finally:
            if before is not None:
                before |= self._heard
            self._heard = before
