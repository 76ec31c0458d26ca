"""`fhirstore load`: resources from files, into the store or to a server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fhirstore.commands.load_files import Item, find_files, read_items
from fhirstore.commands.load_targets import IntoStore, Loaded, Target, ToServer
from fhirstore.commands.options import with_settings
from fhirstore.errors import StartupError
from fhirstore.server import build
from fhirstore.settings import Settings


class State:
    """How far each file has been loaded, kept in a JSON file so that an interrupted load goes on where it stopped.
    Written at most once a second: what came after is loaded again, which changes nothing."""

    def __init__(self, file: str | None, target: str):
        self._file, self._target, self._written = Path(file) if file else None, target, 0.0
        self.done: dict[str, int] = {}
        if self._file is None or not self._file.exists():
            return
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            self.done = {str(name): int(number) for name, number in kept["done"].items()}
            before = kept["target"]
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
            raise StartupError(
                f"{file}: this is not the state of a load: {e}; delete it to load from the start."
            ) from None
        if before != target:
            raise StartupError(f"{file}: this is the state of a load into {before}, not {target}; name another file.")

    def note(self, item: Item) -> None:
        if item.ends:
            self.done[str(item.file)] = item.number
        if time.monotonic() - self._written > 1:
            self.write()

    def write(self) -> None:
        if self._file is None:
            return
        part = self._file.with_name(self._file.name + ".part")
        part.write_text(json.dumps({"target": self._target, "done": self.done}), "utf-8")
        os.replace(part, self._file)
        self._written = time.monotonic()


class Report:
    """Counts, the progress bar, and the file of errors (made with the first error)."""

    def __init__(self, errors: str, total: int, console: Console):
        self.loaded = self.failed = 0
        self._errors = errors
        self._begin = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID = self.progress.add_task("load", total=total)
        self._before, self._current, self._offset = 0, Path(), 0

    @property
    def rate(self) -> float:
        return self.loaded / max(time.monotonic() - self._begin, 1e-6)

    def note(self, result: Loaded) -> None:
        item = result.item
        self.loaded += result.count
        if result.issues:
            self.failed += 1
            self._write(result)
        if item.file != self._current:
            self._before, self._current = self._before + self._offset, item.file
        self._offset = item.offset
        text = f"{self.loaded} resources, {self.rate:.0f}/s"
        self.progress.update(self._task, completed=self._before + self._offset, description=text)

    def _write(self, result: Loaded) -> None:
        resource = result.item.resource or {}
        line = {
            "where": result.item.where,
            "resource": f"{resource.get('resourceType')}/{resource.get('id')}" if resource else None,
            "issue": [i.to_json() for i in result.issues],
        }
        with open(self._errors, "w" if self.failed == 1 else "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def load_all(target: Target, files: list[Path], state: State, report: Report, max_nesting: int) -> None:
    """Loads what the state does not have yet."""

    def items() -> Iterator[Item]:
        for file in files:
            yield from read_items(file, state.done.get(str(file), 0), max_nesting)

    with report.progress:
        try:
            for result in target.put(items()):
                report.note(result)
                state.note(result.item)
        finally:
            state.write()


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--to", "url", metavar="URL", help="Base URL of a server to load into, instead of the store")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="With --to: a header of each request")
@click.option("--state", "state_file", metavar="FILE", help="Remembers how far it came; the same command goes on there")
@click.option(
    "--errors", default="load-errors.ndjson", show_default=True, metavar="FILE", help="What was refused, and why"
)
@with_settings("store", "capability", "plugin", "package_folder", "validation")
def load(
    settings: Settings,
    paths: tuple[str, ...],
    url: str | None,
    headers: tuple[str, ...],
    state_file: str | None,
    errors: str,
) -> None:
    """Load Bundles, NDJSON and single resources (.json, .ndjson, .jsonl, also .gz; folders: all of them within).

    Resources keep their ids; one without gets a new id. Batches and transactions are carried out. Exit status 1 when
    something was refused."""
    files = find_files(paths)
    state = State(state_file, url or settings.store)
    report = Report(errors, sum(f.stat().st_size for f in files), Console(stderr=True))
    with closing(_target(url, headers, settings)) as target:
        load_all(target, files, state, report, settings.max_nesting)
    see = f", see {errors}" if report.failed else ""
    click.echo(f"{report.loaded} resources loaded, {report.rate:.0f}/s; {report.failed} refused{see}")
    if report.failed:
        raise SystemExit(1)


def _target(url: str | None, headers: tuple[str, ...], settings: Settings) -> Target:
    return ToServer(url, headers) if url is not None else IntoStore(build(settings))
