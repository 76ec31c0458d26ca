"""The outbox as a page: /sas/outbox."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape

from fhirstore.plugins import Store
from fhirstore_sas.relay import outbox
from fhirstore_sas.relay.command import moment
from fhirstore_sas.relay.outbox import Item

PATH = "/sas/outbox"
MOST = 200
"""Rows of one state that are shown."""
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;color:#1d2433;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0;border-bottom:1px solid #d5dae3}
td{overflow-wrap:anywhere}.meta{color:#566074;font-size:.9rem}
@media(prefers-color-scheme:dark){body{color:#e6e9ef;background:#14171d}th,td{border-color:#3a4150}.meta{color:#a3adbf}}
"""
_TITLES = {"parked": "Parked", "sending": "Being sent", "waiting": "Waiting"}


def write(store: Store, query: Mapping[str, str]) -> str:
    """The page. query: nothing is read from it."""
    found = outbox.items(store, with_sent=False)
    number = outbox.counts(found)
    parts = "".join(_part(state, [i for i in found if i.state == state]) for state in _TITLES)
    counted = ", ".join(f"{number[state]} {state}" for state in _TITLES)
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Appointments for the platform</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>Appointments for the platform</h1>\n<p class="meta">{moment(time.time())} · {counted}</p>\n'
        f"{parts or '<p>The platform knows all that it is to know.</p>'}</body></html>\n"
    )


def _part(state: str, found: list[Item]) -> str:
    if not found:
        return ""
    shown = sorted(found, key=lambda i: i.at, reverse=True)[:MOST]
    rows = "".join(_line(item) for item in shown)
    more = f'<p class="meta">and {len(found) - MOST} older ones</p>' if len(found) > MOST else ""
    head = "".join(
        f"<th>{name}</th>" for name in ("Appointment", "Identifier", "Status", "Since", "Attempts", "Answer")
    )
    return f"<h2>{_TITLES[state]} ({len(found)})</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n{more}"


def _line(item: Item) -> str:
    again = f", again {moment(item.next)}" if item.state == "waiting" and item.next else ""
    answer = (item.error or str(item.status or "")) + again
    cells = (item.id, item.identifier, str(item.message.get("status")), moment(item.at), str(item.attempts), answer)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
