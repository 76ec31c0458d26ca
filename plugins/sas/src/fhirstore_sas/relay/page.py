"""The page /sas/outbox, in the language of the request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

from fhirstore.plugins import Message, PluginJobs, translate
from fhirstore_sas.relay.command import moment
from fhirstore_sas.relay.status import OutboxItem, OutboxState, load_items, outbox_summary

PATH = "/sas/outbox"
MOST = 200
"""Rows that the page shows of each state."""
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #d5dae3}
td{overflow-wrap:anywhere}.meta{color:#566074;font-size:.9rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}th,td{border-color:#3a4150}.meta{color:#a3adbf}}
"""
TITLE = Message("Appointments for the platform")
NOTHING = Message("All appointments have been sent to the platform.")
COLUMNS = Message("Appointment · Identifier · Status · Since · Attempts · Answer")


def render(jobs: PluginJobs, query: Mapping[str, str]) -> str:
    """The HTML document. query: ignored."""
    found = outbox_summary(jobs, MOST)
    shown = list(load_items(jobs, found, limit=MOST))
    number = found.counts
    titles: dict[OutboxState, str] = {
        "parked": translate(Message("Parked appointments: {parked}", parked=number["parked"])),
        "sending": translate(Message("Appointments being sent: {sending}", sending=number["sending"])),
        "waiting": translate(Message("Waiting appointments: {waiting}", waiting=number["waiting"])),
    }
    parts = "".join(
        _part(title, number[state], [i for i in shown if i.state == state]) for state, title in titles.items()
    )
    title = translate(TITLE)
    language = "en" if title == TITLE else "fr"  # the only other catalogue
    nothing = f"<p>{escape(translate(NOTHING))}</p>"
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}</h1>\n<p class="meta">{moment(time.time())}</p>\n'
        f"{parts or nothing}</body></html>\n"
    )


def _part(title: str, number: int, shown: list[OutboxItem]) -> str:
    if not shown:
        return ""
    rows = "".join(_line(item) for item in shown)
    left = number - len(shown)
    more = f'<p class="meta">{escape(translate(_others(left)))}</p>' if left > 0 else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in translate(COLUMNS).split(" · "))
    return f"<h2>{escape(title)}</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n{more}"


def _others(count: int) -> Message:
    return Message.plural(
        "and {count} other (fhirstore sas outbox list)", "and {count} others (fhirstore sas outbox list)", count
    )


def _line(item: OutboxItem) -> str:
    answer = [item.error or str(item.status or "")]
    if item.state == "waiting" and item.next:
        answer.append(translate(Message("tried again at {next}", next=moment(item.next))))
    cells = (
        item.id, item.identifier, str(item.message.get("status")), moment(item.at), str(item.attempts),
        ", ".join(text for text in answer if text),
    )  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
