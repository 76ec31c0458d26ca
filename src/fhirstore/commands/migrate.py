"""`fhirstore migrate`: all that one store holds into another one, of whatever engine, with its history."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhirstore.commands.migrate_copy import (
    Mark,
    State,
    begun,
    check_continues,
    copy,
    finish,
    identity,
    mismatches,
    sums,
)
from fhirstore.commands.options import with_settings
from fhirstore.commands.reindex import UNLIMITED_NESTING
from fhirstore.errors import StartupError
from fhirstore.formats.compose import compose
from fhirstore.formats.json import parse
from fhirstore.interactions.context import Server
from fhirstore.interactions.write import extract_index
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Stored
from fhirstore.server import assemble
from fhirstore.settings import Settings
from fhirstore.store import open_store
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import Store

_PATIENCE_S = 90.0  # what a killed process has begun MongoDB ends after a minute; until then others wait for it
_PASSWORD = re.compile(r"(?<=://)[^@/?]*@")


@click.command()
@click.option("--from", "source_url", required=True, metavar="URL", help="The store to copy")
@click.option("--to", "target_url", required=True, metavar="URL", help="An empty store, or one that does not exist yet")
@with_settings("capability", "plugin")
def migrate(settings: Settings, source_url: str, target_url: str) -> None:
    """Copy a store into another one: resources, versions, unique keys, records of plugins (use the same capability and
    plugins as for serve). Stop the servers on the source first.

    Interrupted, the same command goes on where it stopped. At the end both stores are read again and compared: exit
    status 1 when they differ, or when something was written to the source meanwhile."""
    settings = replace(
        settings,
        store=target_url,
        write_timeout_s=max(settings.write_timeout_s, _PATIENCE_S),
        search_timeout_s=max(settings.search_timeout_s, _PATIENCE_S),
    )
    source, target = open_store(source_url, settings), open_store(target_url, settings)
    with closing(source), closing(target), _one_line():
        if not source.exists():
            raise StartupError(
                f"migrate: there is no store at {_shown(source_url)}; name the store to copy with --from"
            )
        state = begun(target, identity(source_url.partition("://")[0], source))
        check_continues(source, state)
        server = assemble(settings, target)
        faults = _Migration(server, source, target).run(state)
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise SystemExit(1)


def _shown(url: str) -> str:
    return _PASSWORD.sub("…@", url)


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except StoreError as problem:
        raise StartupError(f"migrate: interrupted: {problem}; the same command goes on where it stopped") from problem


class _Migration:
    """One run, with its progress on a terminal and its results on stdout."""

    def __init__(self, server: Server, source: Store, target: Store):
        self._server, self._source, self._target = server, source, target
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def run(self, state: State) -> list[str]:
        """What keeps the migration from being finished, a line each."""
        mark, begin, before = Mark.of(self._source), time.monotonic(), state.versions
        with self._progress:
            state = copy(self._source, self._target, state, self._extract, self._shows("copy", mark.versions, before))
            seconds = max(time.monotonic() - begin, 1e-6)
            one = sums(self._source, self._shows("read the source", mark.versions))
            other = sums(self._target, self._shows("read the target", mark.versions))
        copied = state.versions - before
        click.echo(f"{copied} versions copied, {copied / seconds:.0f}/s; the target holds {state.versions}.")
        if Mark.of(self._source) != mark:
            return [
                "migrate: the source was written to during the migration: stop the servers on it and run the same "
                "command again, it takes over what is new"
            ]
        if found := mismatches(one, other):
            return [f"migrate: the stores differ: {line}" for line in found]
        finish(self._target)
        click.echo(f"Both stores hold the same {one.live} resources of {len(one.types)} types, by checksum.")
        if pending := sorted(f"{type}.{code}" for type, code in self._target.pending()):
            click.echo(f"To be indexed with `fhirstore reindex`: {', '.join(pending)}")
        return []

    def _extract(self, stored: Stored) -> IndexEntries:
        return extract_index(self._server, stored.type, parse(compose(stored), UNLIMITED_NESTING))

    def _shows(self, what: str, total: int, before: int = 0) -> Callable[[int], None]:
        task = self._progress.add_task(what, total=total, completed=before)
        begin = time.monotonic()

        def shows(done: int) -> None:
            rate = (done - before) / max(time.monotonic() - begin, 1e-6)
            self._progress.update(task, completed=done, description=f"{what}, {rate:.0f}/s")

        return shows
