"""Checks regulator accounts in the order of the official kit (SPEC §5.5).

All accounts are created with new identifiers and are disabled at the end.
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

from fhirstore_sas.check.client import EndpointClient
from fhirstore_sas.check.model import CheckResults, CheckRule, Exchange
from fhirstore_sas.check.searches import refusal_faults
from fhirstore_sas.names import FR_V2_0203, IDNPS_SYSTEM, PLATFORM, SAS
from fhirstore_sas.rules import Fault

Body = dict[str, Any]
CREATED, REFUSED, ACCEPTED = "201", "4xx | 5xx", "2xx"

RULES = (
    CheckRule("account-create-national", "§5.1", kit=("5.01",)),
    CheckRule("account-create-technical", "§5.1", kit=("5.02",)),
    CheckRule("account-create-twice", "§5.5 no. 3", kit=("5.03",)),
    CheckRule("account-create-incomplete", "§5.4", kit=("5.04",)),
    CheckRule("account-create-wrong", "§5.5 no. 5", "warning", kit=("5.05",)),
    CheckRule("account-disable", "§5.3", kit=("5.06",)),
    CheckRule("account-enable", "§5.3", kit=("5.07",)),
    CheckRule("account-change-mail", "§5.2", kit=("5.08",)),
    CheckRule("account-change-identifier", "§5.2", kit=("5.09",)),
    CheckRule("account-change-identifier-type", "§5.5 no. 10; §20 no. 5", kit=("5.10",)),
    CheckRule("account-change-family", "§5.2", kit=("5.11",)),
    CheckRule("account-change-given", "§5.2", kit=("5.12",)),
    CheckRule("account-update-incomplete", "§5.4", kit=("5.13",)),
    CheckRule("account-put-incomplete", "§5.4", kit=("5.14",)),
    CheckRule("account-put-creates", "§5.2; §16 no. 18", kit=("5.15",)),
    CheckRule("account-identifier-freed", "§5.4; §5.5 no. 16", kit=("5.16",)),
    CheckRule("account-location", "§5.1; §2"),
    CheckRule("account-outcome", "§2"),
)
_NEEDED = ("identifier", "name", "telecom", "active")


@dataclass(frozen=True)
class AccountIds:
    """a, b: national ids. u1 to u4: technical ids. mail: of the account a."""

    a: str
    b: str
    u1: str
    u2: str
    u3: str
    u4: str
    mail: str

    @classmethod
    def new(cls) -> AccountIds:
        number = secrets.randbelow(10**8 - 2)
        a, b = (f"3456780581/{n:08d}" for n in (number, number + 1))
        u1, u2, u3, u4 = (str(uuid.uuid4()) for _ in range(4))
        return cls(a, b, u1, u2, u3, u4, f"{number:08d}@sas-check.example")


@dataclass(frozen=True)
class AccountStep:
    """One request. where: (system, value) of a PUT, None for a POST. expected: CREATED, REFUSED or ACCEPTED."""

    rule: str
    where: tuple[str, str] | None
    body: Body
    expected: str


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


def steps(ids: AccountIds) -> Iterator[AccountStep]:
    """The sequence of the kit (SPEC §5.5); the last steps disable all accounts."""
    a, b, m = (IDNPS_SYSTEM, ids.a), (IDNPS_SYSTEM, ids.b), ids.mail
    second, third = account(PLATFORM, ids.u2, ids.u2 + m), account(PLATFORM, ids.u3, f"{ids.u3}.{m}")
    yield AccountStep("account-create-national", None, account(*a, m), CREATED)
    yield AccountStep("account-create-technical", None, account(PLATFORM, ids.u1, ids.u1 + m), CREATED)
    yield AccountStep("account-create-twice", None, second, CREATED)
    yield AccountStep("account-create-twice", None, second, REFUSED)
    yield from _incomplete("account-create-incomplete", None, str(uuid.uuid4()))
    yield from (AccountStep("account-create-wrong", None, body, REFUSED) for body in _wrong(str(uuid.uuid4())))
    yield AccountStep("account-disable", a, account(*a, m, active=False), ACCEPTED)
    yield AccountStep("account-enable", a, account(*a, m), ACCEPTED)
    yield AccountStep("account-change-mail", a, account(*a, "x" + m), ACCEPTED)
    yield AccountStep("account-change-identifier", a, account(*b, "x" + m), ACCEPTED)
    # The kit swaps the systems by mistake: no account has this id, so one is created.
    yield AccountStep(
        "account-change-identifier-type", (IDNPS_SYSTEM, ids.u1), account(PLATFORM, ids.a, ids.u1 + m), ACCEPTED
    )
    yield AccountStep("account-change-family", b, account(*b, "x" + m, family="Vérifié"), ACCEPTED)
    yield AccountStep("account-change-given", b, account(*b, "x" + m, family="Vérifié", given="Essai"), ACCEPTED)
    yield from _incomplete("account-update-incomplete", b, ids.b)
    unknown = (PLATFORM, ids.u4)
    yield from _incomplete("account-put-incomplete", unknown, ids.u4)
    yield AccountStep("account-put-creates", unknown, account(*unknown, ids.u4 + m), ACCEPTED)
    yield AccountStep("account-put-creates", unknown, account(*unknown, ids.u4 + m), ACCEPTED)
    yield AccountStep("account-identifier-freed", a, account(*a, m, active=False), ACCEPTED)
    yield AccountStep("account-identifier-freed", None, third, CREATED)
    yield AccountStep("account-identifier-freed", (PLATFORM, ids.u3), account(*a, f"{ids.u3}.{m}"), ACCEPTED)
    for one in (a, b, (PLATFORM, ids.a), (PLATFORM, ids.u1), (PLATFORM, ids.u2), unknown):
        yield AccountStep("account-disable", one, account(*one, m, active=False), ACCEPTED)


def _incomplete(rule: str, where: tuple[str, str] | None, value: str) -> Iterator[AccountStep]:
    system = IDNPS_SYSTEM if "/" in value else PLATFORM
    for name in _NEEDED:
        body = account(system, value, "incomplet@sas-check.example")
        del body[name]
        yield AccountStep(rule, where, body, REFUSED)


def _wrong(value: str) -> Iterator[Body]:
    good = account(PLATFORM, value, "faux@sas-check.example")
    yield {**good, "name": [{"family": "", "given": ["Sas"]}]}
    yield {**good, "telecom": [{"system": "email", "value": ""}]}
    yield {**good, "telecom": [{"system": "phone", "value": "faux@sas-check.example"}]}
    for system, code in ((IDNPS_SYSTEM, "INTRN"), (PLATFORM, "IDNPS")):
        type = {"coding": [{"system": FR_V2_0203, "code": code}]}
        yield {**good, "identifier": [{"type": type, "system": system, "value": value}]}


def run(client: EndpointClient, results: CheckResults, ids: AccountIds) -> None:
    """Sends the steps and records the faults of the responses."""
    for step in steps(ids):
        exchange = _send(client, step)
        passed = results.note(step.rule, exchange, _status_faults(step, exchange))
        if step.expected == REFUSED and passed:
            results.note("account-outcome", exchange, refusal_faults(exchange))
        elif passed and exchange.status in (200, 201):
            results.note("account-location", exchange, _location_faults(client.base, exchange))


def _send(client: EndpointClient, step: AccountStep) -> Exchange:
    body = json.dumps(step.body, ensure_ascii=False)
    if step.where is None:
        return client.send("POST", "Practitioner", body)
    system, value = step.where
    return client.send("PUT", f"Practitioner?identifier={system}%7C{quote(value, safe='')}", body)


def _status_faults(step: AccountStep, exchange: Exchange) -> list[Fault]:
    status = exchange.status or 0
    is_correct = {
        CREATED: status == 201,
        REFUSED: 400 <= status < 600,
        ACCEPTED: 200 <= status < 400,
    }[step.expected]
    given = f"{exchange.status or exchange.problem} {exchange.text[:200]}".strip()
    return [] if is_correct else [Fault("HTTP", given, step.expected)]


def _location_faults(base: str, exchange: Exchange) -> list[Fault]:
    given = exchange.headers.get("location", "")
    is_correct = re.fullmatch(r"https?://\S+/Practitioner/[A-Za-z0-9\-.]{1,64}", given)
    return [] if is_correct else [Fault("Location", given or "∅", f"{base}/Practitioner/…")]
