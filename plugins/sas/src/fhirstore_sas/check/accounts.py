"""Regulator accounts, in the order in which the official kit goes through them (SPEC §5.5).

All accounts are made with new identifiers and are disabled at the end.
"""

from __future__ import annotations

import json
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fhirstore_sas.check.client import Client
from fhirstore_sas.check.journal import Journal
from fhirstore_sas.check.model import Exchange, Rule
from fhirstore_sas.check.searches import refusal_faults
from fhirstore_sas.json_node import Fault
from fhirstore_sas.names import FR_V2_0203, IDNPS_SYSTEM, PLATFORM, SAS

Body = dict[str, Any]
CREATED, REFUSED, ACCEPTED = "201", "4xx | 5xx", "2xx"

RULES = (
    Rule("account-create-national", "§5.1", kit=("5.01",)),
    Rule("account-create-technical", "§5.1", kit=("5.02",)),
    Rule("account-create-twice", "§5.5 no. 3", kit=("5.03",)),
    Rule("account-create-incomplete", "§5.4", kit=("5.04",)),
    Rule("account-create-wrong", "§5.5 no. 5", "warning", kit=("5.05",)),
    Rule("account-disable", "§5.3", kit=("5.06",)),
    Rule("account-enable", "§5.3", kit=("5.07",)),
    Rule("account-change-mail", "§5.2", kit=("5.08",)),
    Rule("account-change-identifier", "§5.2", kit=("5.09",)),
    Rule("account-change-identifier-type", "§5.5 no. 10; §20 no. 5", kit=("5.10",)),
    Rule("account-change-family", "§5.2", kit=("5.11",)),
    Rule("account-change-given", "§5.2", kit=("5.12",)),
    Rule("account-update-incomplete", "§5.4", kit=("5.13",)),
    Rule("account-put-incomplete", "§5.4", kit=("5.14",)),
    Rule("account-put-creates", "§5.2; §16 no. 18", kit=("5.15",)),
    Rule("account-identifier-freed", "§5.4; §5.5 no. 16", kit=("5.16",)),
    Rule("account-location", "§5.1; §2"),
    Rule("account-outcome", "§2"),
)
_NEEDED = ("identifier", "name", "telecom", "active")


@dataclass(frozen=True)
class Ids:
    """a, b: national ids. u1 to u4: technical ids. mail: of the account a."""

    a: str
    b: str
    u1: str
    u2: str
    u3: str
    u4: str
    mail: str

    @classmethod
    def new(cls) -> Ids:
        number = secrets.randbelow(10**8 - 2)
        a, b = (f"3456780581/{n:08d}" for n in (number, number + 1))
        u1, u2, u3, u4 = (str(uuid.uuid4()) for _ in range(4))
        return cls(a, b, u1, u2, u3, u4, f"{number:08d}@sas-check.example")


@dataclass(frozen=True)
class Step:
    """One request. where: (system, value) of a PUT, None for a POST. wanted: CREATED, REFUSED or ACCEPTED."""

    rule: str
    where: tuple[str, str] | None
    body: Body
    wanted: str


def account(
    system: str, value: str, mail: str, active: bool = True, family: str = "Contrôle", given: str = "Sas"
) -> Body:
    """The body of an account as the platform sends it."""
    code = "INTRN" if system == PLATFORM else "IDNPS"
    return {
        "resourceType": "Practitioner",
        "id": "example-regulator-1",
        "meta": {"source": PLATFORM, "profile": [SAS + "FrPractitionerRegul"]},
        "identifier": [{"type": {"coding": [{"system": FR_V2_0203, "code": code}]}, "system": system, "value": value}],
        "active": active,
        "name": [{"family": family, "given": [given]}],
        "telecom": [{"system": "email", "value": mail}],
    }


def steps(ids: Ids) -> Iterator[Step]:
    """The sequence of the kit (SPEC §5.5), then all accounts disabled."""
    a, b, m = (IDNPS_SYSTEM, ids.a), (IDNPS_SYSTEM, ids.b), ids.mail
    second, third = account(PLATFORM, ids.u2, ids.u2 + m), account(PLATFORM, ids.u3, f"{ids.u3}.{m}")
    yield Step("account-create-national", None, account(*a, m), CREATED)
    yield Step("account-create-technical", None, account(PLATFORM, ids.u1, ids.u1 + m), CREATED)
    yield Step("account-create-twice", None, second, CREATED)
    yield Step("account-create-twice", None, second, REFUSED)
    yield from _incomplete("account-create-incomplete", None, str(uuid.uuid4()))
    yield from (Step("account-create-wrong", None, body, REFUSED) for body in _wrong(str(uuid.uuid4())))
    yield Step("account-disable", a, account(*a, m, active=False), ACCEPTED)
    yield Step("account-enable", a, account(*a, m), ACCEPTED)
    yield Step("account-change-mail", a, account(*a, "x" + m), ACCEPTED)
    yield Step("account-change-identifier", a, account(*b, "x" + m), ACCEPTED)
    # The kit swaps the systems here by mistake: nobody has this id, so an account is made.
    yield Step("account-change-identifier-type", (IDNPS_SYSTEM, ids.u1), account(PLATFORM, ids.a, ids.u1 + m), ACCEPTED)
    yield Step("account-change-family", b, account(*b, "x" + m, family="Vérifié"), ACCEPTED)
    yield Step("account-change-given", b, account(*b, "x" + m, family="Vérifié", given="Essai"), ACCEPTED)
    yield from _incomplete("account-update-incomplete", b, ids.b)
    unknown = (PLATFORM, ids.u4)
    yield from _incomplete("account-put-incomplete", unknown, ids.u4)
    yield Step("account-put-creates", unknown, account(*unknown, ids.u4 + m), ACCEPTED)
    yield Step("account-put-creates", unknown, account(*unknown, ids.u4 + m), ACCEPTED)
    yield Step("account-identifier-freed", a, account(*a, m, active=False), ACCEPTED)
    yield Step("account-identifier-freed", None, third, CREATED)
    yield Step("account-identifier-freed", (PLATFORM, ids.u3), account(*a, f"{ids.u3}.{m}"), ACCEPTED)
    for one in (a, b, (PLATFORM, ids.a), (PLATFORM, ids.u1), (PLATFORM, ids.u2), unknown):
        yield Step("account-disable", one, account(*one, m, active=False), ACCEPTED)


def _incomplete(rule: str, where: tuple[str, str] | None, value: str) -> Iterator[Step]:
    system = IDNPS_SYSTEM if "/" in value else PLATFORM
    for name in _NEEDED:
        body = account(system, value, "incomplet@sas-check.example")
        del body[name]
        yield Step(rule, where, body, REFUSED)


def _wrong(value: str) -> Iterator[Body]:
    good = account(PLATFORM, value, "faux@sas-check.example")
    yield {**good, "name": [{"family": "", "given": ["Sas"]}]}
    yield {**good, "telecom": [{"system": "email", "value": ""}]}
    yield {**good, "telecom": [{"system": "phone", "value": "faux@sas-check.example"}]}
    for system, code in ((IDNPS_SYSTEM, "INTRN"), (PLATFORM, "IDNPS")):
        type = {"coding": [{"system": FR_V2_0203, "code": code}]}
        yield {**good, "identifier": [{"type": type, "system": system, "value": value}]}


def run(client: Client, journal: Journal, ids: Ids) -> None:
    """Sends the steps and notes what is wrong with the answers."""
    for step in steps(ids):
        exchange = _send(client, step)
        kept = journal.note(step.rule, exchange, _status_faults(step, exchange))
        if step.wanted == REFUSED and kept:
            journal.note("account-outcome", exchange, refusal_faults(exchange))
        elif kept and exchange.status in (200, 201):
            journal.note("account-location", exchange, _location_faults(client.base, exchange))


def _send(client: Client, step: Step) -> Exchange:
    body = json.dumps(step.body, ensure_ascii=False)
    if step.where is None:
        return client.send("POST", "Practitioner", body)
    system, value = step.where
    return client.send("PUT", f"Practitioner?identifier={system}%7C{quote(value, safe='')}", body)


def _status_faults(step: Step, exchange: Exchange) -> list[Fault]:
    status = exchange.status or 0
    is_right = {
        CREATED: status == 201,
        REFUSED: 400 <= status < 600,
        ACCEPTED: 200 <= status < 400,
    }[step.wanted]
    given = f"{exchange.status or exchange.problem} {exchange.text[:200]}".strip()
    return [] if is_right else [Fault("HTTP", given, step.wanted)]


def _location_faults(base: str, exchange: Exchange) -> list[Fault]:
    given = exchange.headers.get("location", "")
    is_right = re.fullmatch(r"https?://\S+/Practitioner/[A-Za-z0-9\-.]{1,64}", given)
    return [] if is_right else [Fault("Location", given or "∅", f"{base}/Practitioner/…")]
