"""The outbox as a page, /sas/outbox, in the language of the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from html import escape

from fhirstore.plugins import Store, translate
from fhirstore_sas.relay import listing
from fhirstore_sas.relay.command import moment
from fhirstore_sas.relay.listing import Item

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
Say = Callable[[str], str]
TITLE = "Appointments for the platform"
NOTHING = "The platform knows all that it is to know."
COLUMNS = "Appointment · Identifier · Status · Since · Attempts · Answer"


def write(store: Store, query: Mapping[str, str]) -> str:
    """The page. query: nothing is read from it."""
    say = translate
    found = listing.survey(store, MOST)
    shown = list(listing.named(store, found))
    number = found.counts
    parts = "".join(
        _part(title, number[state], [i for i in shown if i.state == state], say)
        for state, title in (
            ("parked", say(f"Parked appointments: {number['parked']}")),
            ("sending", say(f"Appointments that are being sent: {number['sending']}")),
            ("waiting", say(f"Waiting appointments: {number['waiting']}")),
        )
    )
    title = say(TITLE)
    language = "en" if title == TITLE else "fr"  # the only other one that there is a catalogue for
    nothing = f"<p>{escape(say(NOTHING))}</p>"
    return (
        f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}</h1>\n<p class="meta">{moment(time.time())}</p>\n'
        f"{parts or nothing}</body></html>\n"
    )


def _part(title: str, number: int, shown: list[Item], say: Say) -> str:
    if not shown:
        return ""
    rows = "".join(_line(item, say) for item in shown)
    left = number - len(shown)
    more = f'<p class="meta">{escape(say(f"and {left} others (fhirstore sas outbox list)"))}</p>' if left > 0 else ""
    head = "".join(f"<th>{escape(name)}</th>" for name in say(COLUMNS).split(" · "))
    return f"<h2>{escape(title)}</h2>\n<table><tr>{head}</tr>\n{rows}</table>\n{more}"


def _line(item: Item, say: Say) -> str:
    answer = [item.error or str(item.status or "")]
    if item.state == "waiting" and item.next:
        answer.append(say(f"tried again at {moment(item.next)}"))
    cells = (
        item.id, item.identifier, str(item.message.get("status")), moment(item.at), str(item.attempts),
        ", ".join(text for text in answer if text),
    )  # fmt: skip
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
