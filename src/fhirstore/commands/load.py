"""`fhirstore load`: loads resources from files into the store or another server."""

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

from fhirstore.commands.load_files import LoadItem, find_files, read_items
from fhirstore.commands.load_targets import LoadResult, LoadTarget, ServerTarget, StoreTarget
from fhirstore.commands.options import ClientTls, with_client_tls, with_settings
from fhirstore.errors import StartupError
from fhirstore.server import build
from fhirstore.settings import Settings


class LoadProgress:
    """The position in each file, saved to a JSON file so that an interrupted load can resume.

    The file is written at most once a second. A resumed load repeats the rest, which changes nothing.
    """

    def __init__(self, file: str | None, target: str):
        self._file, self._target, self._written = Path(file) if file else None, target, 0.0
        self.done: dict[str, int] = {}
        if self._file is None or not self._file.exists():
            return
        try:
            saved = json.loads(self._file.read_text("utf-8"))
            self.done = {str(name): int(number) for name, number in saved["done"].items()}
            saved_target = saved["target"]
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as e:
            raise StartupError(f"{file}: not a state file of a load: {e}. Delete it to start over.") from None
        if saved_target != target:
            raise StartupError(f"{file}: state of a load into {saved_target}, not {target}. Use another file.")

    def record(self, item: LoadItem) -> None:
        if item.is_last:
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


class LoadReport:
    """Counts, the progress bar, and the error file, which is created with the first error."""

    def __init__(self, errors: str, total: int, console: Console):
        self.loaded = self.rejected = 0
        self._errors = errors
        self._started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task: TaskID = self.progress.add_task("load", total=total)
        self._bytes_before, self._file, self._offset = 0, Path(), 0

    @property
    def rate(self) -> float:
        return self.loaded / max(time.monotonic() - self._started, 1e-6)

    def record(self, result: LoadResult) -> None:
        item = result.item
        self.loaded += result.count
        if result.issues:
            self.rejected += 1
            self._write(result)
        if item.file != self._file:
            self._bytes_before, self._file = self._bytes_before + self._offset, item.file
        self._offset = item.offset
        text = f"{self.loaded} resources, {self.rate:.0f}/s"
        self.progress.update(self._task, completed=self._bytes_before + self._offset, description=text)

    def _write(self, result: LoadResult) -> None:
        resource = result.item.resource or {}
        line = {
            "where": result.item.where,
            "resource": f"{resource.get('resourceType')}/{resource.get('id')}" if resource else None,
            "issue": [i.to_json() for i in result.issues],
        }
        with open(self._errors, "w" if self.rejected == 1 else "a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def load_all(
    target: LoadTarget, files: list[Path], progress: LoadProgress, report: LoadReport, max_nesting: int
) -> None:
    """Loads the items that `progress` does not record as loaded."""

    def items() -> Iterator[LoadItem]:
        for file in files:
            yield from read_items(file, progress.done.get(str(file), 0), max_nesting)

    with report.progress:
        try:
            for result in target.put(items()):
                report.record(result)
                progress.record(result.item)
        finally:
            progress.write()


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--to", "url", metavar="URL", help="Base URL of a FHIR server to load into, instead of the store.")
@click.option(
    "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="With --to: header of each request. Repeatable."
)
@click.option(
    "--state", "state_file", metavar="FILE", help="File that records the progress, so that the same command can resume."
)
@click.option(
    "--errors",
    default="load-errors.ndjson",
    show_default=True,
    metavar="FILE",
    help="File for rejected resources and the reasons.",
)
@with_client_tls
@with_settings("store", "capability", "plugin", "package_folder", "validation")
def load(
    settings: Settings,
    paths: tuple[str, ...],
    url: str | None,
    headers: tuple[str, ...],
    state_file: str | None,
    errors: str,
    tls: ClientTls,
) -> None:
    """Load resources and Bundles from files.

    PATHS are .json, .ndjson and .jsonl files, each also with .gz, and folders of them. Resources keep their ids; a
    resource without an id gets a new one. Batches and transactions are executed. The exit status is 1 if a resource
    was rejected."""
    files = find_files(paths)
    progress = LoadProgress(state_file, url or settings.store)
    report = LoadReport(errors, sum(f.stat().st_size for f in files), Console(stderr=True))
    with closing(_target(url, headers, tls, settings)) as target:
        load_all(target, files, progress, report, settings.max_nesting)
    details = f", see {errors}" if report.rejected else ""
    click.echo(f"{report.loaded} resources loaded, {report.rate:.0f}/s; {report.rejected} rejected{details}")
    if report.rejected:
        raise SystemExit(1)


def _target(url: str | None, headers: tuple[str, ...], tls: ClientTls, settings: Settings) -> LoadTarget:
    if url is not None:
        return ServerTarget(url, headers, tls)
    for name, given in (("--cert", tls.cert), ("--key", tls.key), ("--cacert", tls.cacert), ("--header", headers)):
        if given:
            raise StartupError(f"{name}: requires --to.")
    return StoreTarget(build(settings))
