"""`fhirstore migrate`: copies a store with its history into another store, of the same or another engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fhirstore.commands.migrate_copy import (
    Checksums,
    MigrationState,
    StoreExtent,
    check_source,
    checksums,
    copy,
    finish,
    identity,
    mismatches,
    read_state,
)
from fhirstore.commands.options import with_settings
from fhirstore.errors import StartupError
from fhirstore.formats.json import compose, parse
from fhirstore.interactions.reindex import UNLIMITED_NESTING
from fhirstore.interactions.server import Server
from fhirstore.interactions.write import extract_index
from fhirstore.model.indexing import IndexEntries
from fhirstore.model.stored import Stored
from fhirstore.server import assemble
from fhirstore.settings import Settings, without_password
from fhirstore.store import open_store
from fhirstore.store.errors import StoreError
from fhirstore.store.protocol import Store

_MIN_TIMEOUT_S = 90.0  # MongoDB aborts the transaction of a killed process only after a minute


@click.command()
@click.option("--from", "source_url", required=True, metavar="URL", help="Store to copy.")
@click.option("--to", "target_url", required=True, metavar="URL", help="Empty or new store to copy into.")
@with_settings("capability", "plugin")
def migrate(settings: Settings, source_url: str, target_url: str) -> None:
    """Copy a store with its history into another one.

    The copy includes resources, versions, unique keys and records of plugins. Stop the servers on the source first. Use
    the same capability and plugins as for serve. After an interruption, the same command resumes. At the end, the
    command reads both stores and compares them. The exit status is 1 if they differ, or if the source changed
    during the migration."""
    settings = replace(
        settings,
        store=target_url,
        write_timeout_s=max(settings.write_timeout_s, _MIN_TIMEOUT_S),
        search_timeout_s=max(settings.search_timeout_s, _MIN_TIMEOUT_S),
    )
    source, target = open_store(source_url, settings), open_store(target_url, settings)
    with closing(source), closing(target), _resumable():
        if not source.exists():
            raise StartupError(f"migrate: no store at {without_password(source_url)}. Set --from to the store to copy.")
        state = read_state(target, identity(source_url.partition("://")[0], source))
        check_source(source, state)
        server = assemble(settings, target)
        problems = _MigrationRun(server, source, target).run(state)
    for problem in problems:
        click.echo(f"migrate: {problem}", err=True)
    if problems:
        raise SystemExit(1)


@contextmanager
def _resumable() -> Iterator[None]:
    """Turns store errors into one line with the advice to resume."""
    try:
        yield
    except StoreError as problem:
        raise StartupError(f"migrate: interrupted: {problem}. Run the same command to resume.") from problem


class _MigrationRun:
    """One run, with a progress bar on terminals and the results on stdout."""

    def __init__(self, server: Server, source: Store, target: Store):
        self._server, self._source, self._target = server, source, target
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def run(self, state: MigrationState) -> list[str]:
        """Copies, compares and finishes. Returns the problems that prevent finishing, one line each."""
        extent = StoreExtent.of(self._source)
        with self._progress:
            self._copy(state, extent.versions)
            source = checksums(self._source, self._callback("read source", extent.versions))
            target = checksums(self._target, self._callback("read target", extent.versions))
        if StoreExtent.of(self._source) != extent:
            return [
                "the source changed during the migration. Stop the servers on it and run the same command again to "
                "copy the changes."
            ]
        if differences := mismatches(source, target):
            return [f"the stores differ: {line}" for line in differences]
        finish(self._target)
        self._report(source)
        return []

    def _copy(self, state: MigrationState, total: int) -> None:
        before, started = state.versions, time.monotonic()
        state = copy(self._source, self._target, state, self._extract, self._callback("copy", total, before))
        copied, seconds = state.versions - before, max(time.monotonic() - started, 1e-6)
        click.echo(f"{copied} versions copied, {copied / seconds:.0f}/s; the target has {state.versions}.")

    def _report(self, source: Checksums) -> None:
        click.echo(f"Both stores have the same {source.current} resources of {len(source.types)} types, by checksum.")
        if pending := sorted(f"{type}.{code}" for type, code in self._target.pending_parameters()):
            click.echo(f"Not indexed yet, run `fhirstore reindex`: {', '.join(pending)}")

    def _extract(self, stored: Stored) -> IndexEntries:
        return extract_index(self._server, stored.type, parse(compose(stored), UNLIMITED_NESTING))

    def _callback(self, step: str, total: int, before: int = 0) -> Callable[[int], None]:
        """Adds a progress bar. Returns the function that updates it with the number of versions so far."""
        task = self._progress.add_task(step, total=total, completed=before)
        started = time.monotonic()

        def update(done: int) -> None:
            rate = (done - before) / max(time.monotonic() - started, 1e-6)
            self._progress.update(task, completed=done, description=f"{step}, {rate:.0f}/s")

        return update
