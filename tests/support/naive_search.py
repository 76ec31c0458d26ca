"""Random resources and searches, and the results of a naive reading of the specification, resource by resource."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

from fhirstore.formats.json import instant
from support.naive_matching import (
    OBSERVATION_KEYS,
    PATIENT_KEYS,
    RISK_KEYS,
    VALUE_SET_KEYS,
    Keys,
    Resource,
    date_fits,
    number_fits,
    span,
    unaccented,
)

Predicate = Callable[[Resource], bool]
Criterion = tuple[str, Predicate]  # name=value, and what it means

FAMILIES = ["Éluard", "Eluard", "éluard", "Le Goff", "Legoff", "O'Neil", "Straße", "Strasse", "Ñuñez", "Lê"]
SYSTEMS = ["urn:a", "urn:b", None]
DATES = ["1980", "1980-02", "1980-02-28", "1980-12", "1981", "1981-01-01", "1979-12-31", "1980-06-15"]
PREFIXES = ["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]
VALUES = ["5", "5.0", "5.4", "5.45", "5.5", "-5", "0", "0.00", "50", "1000000", "0.001"]
CODES = ["c1", "c2", "c3"]
PROBABILITIES = ["0", "0.5", "0.50", "0.05", "0.051", "1", "0.9999"]
URLS = ["http://a.b/x", "http://a.b/x/y", "http://a.b/xy", "http://a.b/", "urn:a:b", "http://a.b/x|2", "http://a.B/x"]


class World:
    """Random resources, and random criteria on them. updated: by "Type/id", when each was stored; to be filled in.
    made: which kinds of criteria were made."""

    def __init__(self, seed: int):
        self.rng = random.Random(seed)
        self.updated: dict[str, int] = {}
        self.made: Counter[str] = Counter()
        self.practitioners = [self._practitioner(n) for n in range(6)]
        self.patients = [self._patient(n) for n in range(60)]
        self.observations = [self._observation(n) for n in range(120)]
        self.risks = [self._risk(n) for n in range(20)]
        self.value_sets = [self._value_set(n) for n in range(20)]

    def resources(self) -> list[Resource]:
        return [*self.practitioners, *self.patients, *self.observations, *self.risks, *self.value_sets]

    def _identifiers(self) -> list[Resource]:
        made = [
            {"system": self.rng.choice(SYSTEMS), "value": str(self.rng.randrange(4))}
            for _ in range(self.rng.randrange(3))
        ]
        return [{k: v for k, v in one.items() if v is not None} for one in made]

    def _some(self, **members: Any) -> Resource:
        """About two thirds of the members, without empty ones."""
        return {name: value for name, value in members.items() if value and self.rng.random() < 0.7}

    def _practitioner(self, n: int) -> Resource:
        return {"resourceType": "Practitioner", "id": f"d{n}", **self._some(identifier=self._identifiers())}

    def _patient(self, n: int) -> Resource:
        rng = self.rng
        return {"resourceType": "Patient", "id": f"p{n:02}"} | self._some(
            gender=rng.choice(["male", "female"]),
            birthDate=rng.choice(DATES),
            name=[{"family": rng.choice(FAMILIES)} for _ in range(rng.randrange(1, 3))],
            identifier=self._identifiers(),
            generalPractitioner=[
                {"reference": f"Practitioner/d{rng.randrange(8)}"} for _ in range(rng.randrange(1, 3))
            ],
        )

    def _observation(self, n: int) -> Resource:
        rng = self.rng
        period = dict(zip(("start", "end"), sorted((rng.choice(DATES[5:]), rng.choice(DATES[5:]))), strict=True))
        when = (
            {"effectiveDateTime": rng.choice(DATES)}
            if rng.random() < 0.5
            else {"effectivePeriod": self._some(**period)}
        )
        return {"resourceType": "Observation", "id": f"o{n:03}"} | self._some(
            code={"coding": [{"system": "urn:c", "code": code} for code in rng.sample(CODES, rng.randrange(1, 3))]},
            subject={"reference": f"Patient/p{rng.randrange(70):02}"},
            valueQuantity={"value": Decimal(rng.choice(VALUES)), "unit": rng.choice(["mg", "g"])},
            **when,
        )

    def _risk(self, n: int) -> Resource:
        rng = self.rng
        chances = [{"probabilityDecimal": Decimal(rng.choice(PROBABILITIES))} for _ in range(rng.randrange(3))]
        return {"resourceType": "RiskAssessment", "id": f"r{n:02}"} | self._some(
            prediction=chances, subject={"reference": f"Patient/p{rng.randrange(70):02}"}
        )

    def _value_set(self, n: int) -> Resource:
        return {"resourceType": "ValueSet", "id": f"v{n:02}"} | self._some(url=self.rng.choice(URLS))

    # --- searches

    def search(self) -> tuple[str, str, list[str]]:
        """(type, query string, the ids that it finds, in order)."""
        type, resources, criterion, keys = self.rng.choice(
            [
                ("Patient", self.patients, self._patient_criterion, PATIENT_KEYS),
                ("Patient", self.patients, self._patient_criterion, PATIENT_KEYS),
                ("Observation", self.observations, self._observation_criterion, OBSERVATION_KEYS),
                ("Observation", self.observations, self._observation_criterion, OBSERVATION_KEYS),
                ("RiskAssessment", self.risks, self._risk_criterion, RISK_KEYS),
                ("ValueSet", self.value_sets, self._value_set_criterion, VALUE_SET_KEYS),
            ]
        )
        criteria = [criterion() for _ in range(self.rng.choice([0, 1, 1, 2, 3]))]
        found = [r for r in resources if all(fits(r) for _, fits in criteria)]
        query = [text for text, _ in criteria]
        if self.rng.random() < 0.6:
            sort, found = self._sorted(found, keys)
            query.append(f"_sort={sort}")
        self.rng.shuffle(query)
        return type, "&".join(query), [r["id"] for r in found]

    def _sorted(self, resources: list[Resource], keys: dict[str, Keys]) -> tuple[str, list[Resource]]:
        """A value of _sort, and the resources in this order: by the least or greatest key, without one last, by id."""
        stored: dict[str, Keys] = {
            "_id": lambda r: [r["id"]],
            "_lastUpdated": lambda r: [self.updated[f"{r['resourceType']}/{r['id']}"]],
        }
        names = self.rng.sample(sorted(keys | stored), self.rng.randrange(1, 4))
        sort = [("-" if self.rng.random() < 0.5 else "", name) for name in names]
        for down, name in reversed(sort):
            key = (keys | stored)[name]
            given = [r for r in resources if key(r)]
            given.sort(key=lambda r: (max if down else min)(key(r)), reverse=bool(down))
            resources = given + [r for r in resources if not key(r)]
            self.made[f"sort {down}{name}"] += 1
        return ",".join(down + name for down, name in sort), resources

    # --- criteria

    def _one_of(self, *makers: Callable[[], Criterion]) -> Criterion:
        maker = self.rng.choice(makers)
        text, fits = maker()
        self.made[maker.__name__] += 1
        return text, fits

    def _patient_criterion(self) -> Criterion:
        return self._one_of(self._plain_patient, self._doctor, self._has_observation, self._has_doctor, self._has_risk)

    def _observation_criterion(self) -> Criterion:
        return self._one_of(self._plain_observation, self._subject, self._subject_of_a_chain, self._updated)

    def _plain_patient(self) -> Criterion:
        return self._one_of(
            self._gender, self._birthdate, self._family, self._identifier, self._missing, self._id, self._updated
        )

    def _plain_observation(self) -> Criterion:
        return self._one_of(self._code, self._not_code, self._quantity, self._effective)

    def _risk_criterion(self) -> Criterion:
        return self._one_of(self._probability, self._subject)

    def _value_set_criterion(self) -> Criterion:
        return self._one_of(self._url, self._updated)

    def _updated(self) -> Criterion:
        """Instants are stored with three decimals, as asked for here."""
        prefix, asked = self.rng.choice(PREFIXES), self.rng.choice(sorted(self.updated.values()))
        asked += self.rng.choice([-1000, 0, 1000])

        def fits(r: Resource) -> bool:
            own = self.updated[f"{r['resourceType']}/{r['id']}"]
            compared = {
                "": own == asked,
                "eq": own == asked,
                "ne": own != asked,
                "ge": own >= asked,
                "le": own <= asked,
            }
            return (compared | dict.fromkeys(("gt", "sa"), own > asked) | dict.fromkeys(("lt", "eb"), own < asked))[
                prefix
            ]

        return f"_lastUpdated={prefix}{instant(asked)}", fits

    def _probability(self) -> Criterion:
        prefix, text = self.rng.choice(PREFIXES), self.rng.choice(PROBABILITIES)

        def fits(r: Resource) -> bool:
            return any(number_fits(prefix, text, one["probabilityDecimal"]) for one in r.get("prediction", ()))

        return f"probability={prefix}{text}", fits

    def _url(self) -> Criterion:
        modifier = self.rng.choice(["", ":below", ":above"])

        def one() -> Criterion:
            url = self.rng.choice(URLS)

            def fits(r: Resource) -> bool:
                own = r.get("url", "")
                below, above = own.startswith(url), url.startswith(own) and own != ""
                return bool({"": own == url, ":below": below, ":above": above}[modifier])

            return url.replace("|", "\\|"), fits

        return self._either(f"url{modifier}", one)

    def _not_code(self) -> Criterion:
        codes = self.rng.sample(CODES, self.rng.randrange(1, 3))
        return "code:not=" + ",".join(codes), lambda r: all(
            c["code"] not in codes for c in r.get("code", {}).get("coding", ())
        )

    def _has_doctor(self) -> Criterion:
        """Patients whose doctor is the doctor of somebody of whom something holds: a reverse chain in a chain."""
        text, fits = self._plain_patient()
        doctors = {one["reference"] for p in self.patients if fits(p) for one in p.get("generalPractitioner", ())}
        known = doctors & {f"Practitioner/{p['id']}" for p in self.practitioners}
        return (
            f"general-practitioner:Practitioner._has:Patient:general-practitioner:{text}",
            lambda r: any(one["reference"] in known for one in r.get("generalPractitioner", ())),
        )

    def _has_risk(self) -> Criterion:
        text, fits = self._probability()
        named = {o["subject"]["reference"] for o in self.risks if "subject" in o and fits(o)}
        return f"_has:RiskAssessment:subject:{text}", lambda r: f"Patient/{r['id']}" in named

    def _subject_of_a_chain(self) -> Criterion:
        text, fits = self._doctor()
        known = {f"Patient/{p['id']}" for p in self.patients if fits(p)}
        return f"subject:Patient.{text}", lambda r: r.get("subject", {}).get("reference") in known

    def _either(self, name: str, make: Callable[[], Criterion]) -> Criterion:
        """name=a,b for one to three values."""
        parts = [make() for _ in range(self.rng.randrange(1, 4))]
        return f"{name}=" + ",".join(text for text, _ in parts), lambda r: any(fits(r) for _, fits in parts)

    def _gender(self) -> Criterion:
        value = self.rng.choice(["male", "female"])
        if self.rng.random() < 0.3:
            return f"gender:not={value}", lambda r: r.get("gender") != value
        system = self.rng.choice(["", "http://hl7.org/fhir/administrative-gender|"])
        return f"gender={system}{value}", lambda r: r.get("gender") == value

    def _missing(self) -> Criterion:
        name, element = self.rng.choice(
            [("gender", "gender"), ("birthdate", "birthDate"), ("family", "name"), ("identifier", "identifier")]
        )
        wanted = self.rng.choice([True, False])
        return f"{name}:missing={str(wanted).lower()}", lambda r: (element not in r) == wanted

    def _id(self) -> Criterion:
        return self._either("_id", lambda: (lambda id: (id, lambda r: r["id"] == id))(f"p{self.rng.randrange(70):02}"))

    def _birthdate(self) -> Criterion:
        def one() -> Criterion:
            prefix, text = self.rng.choice(PREFIXES), self.rng.choice(DATES)
            return prefix + text, lambda r: "birthDate" in r and date_fits(prefix, span(text), *span(r["birthDate"]))

        return self._either("birthdate", one)

    def _family(self) -> Criterion:
        modifier = self.rng.choice(["", ":exact", ":contains"])

        def one() -> Criterion:
            text = self.rng.choice(FAMILIES)
            cut = text[self.rng.randrange(2) if modifier == ":contains" else 0 : self.rng.randrange(2, 9)].strip()

            def fits(r: Resource) -> bool:
                names = [name["family"] for name in r.get("name", ())]
                if modifier == ":exact":
                    return cut in names
                folded = [unaccented(name) for name in names]
                return any(unaccented(cut) in n if modifier else n.startswith(unaccented(cut)) for n in folded)

            return cut, fits

        return self._either(f"family{modifier}", one)

    def _identifier(self) -> Criterion:
        def one() -> Criterion:
            system, value = self.rng.choice(["urn:a", "urn:b", "", None]), self.rng.choice(["0", "1", "2", ""])
            if not system and not value:
                value = "3"
            text = value if system is None else f"{system}|{value}"

            def fits(r: Resource) -> bool:
                return any(
                    (system is None or one.get("system", "") == system) and (not value or one["value"] == value)
                    for one in r.get("identifier", ())
                )

            return text, fits

        return self._either("identifier", one)

    def _doctor(self) -> Criterion:
        if self.rng.random() < 0.5:
            text, fits = self._identifier()
            known = {f"Practitioner/{p['id']}" for p in self.practitioners if fits(p)}
            text = f"general-practitioner:Practitioner.{text}"
        else:
            known = {f"Practitioner/d{self.rng.randrange(8)}"}
            text = "general-practitioner=" + next(iter(known))
        return text, lambda r: any(one["reference"] in known for one in r.get("generalPractitioner", ()))

    def _has_observation(self) -> Criterion:
        text, fits = self._plain_observation()
        named = {o["subject"]["reference"] for o in self.observations if "subject" in o and fits(o)}
        return f"_has:Observation:patient:{text}", lambda r: f"Patient/{r['id']}" in named

    def _code(self) -> Criterion:
        def one() -> Criterion:
            code = self.rng.choice(CODES)
            text = self.rng.choice([code, f"urn:c|{code}"])
            return text, lambda r: any(c["code"] == code for c in r.get("code", {}).get("coding", ()))

        return self._either("code", one)

    def _quantity(self) -> Criterion:
        prefix, text, unit = self.rng.choice(PREFIXES), self.rng.choice(VALUES), self.rng.choice(["", "mg"])

        def fits(r: Resource) -> bool:
            value = r.get("valueQuantity")
            return bool(value) and (not unit or value["unit"] == unit) and number_fits(prefix, text, value["value"])

        return f"value-quantity={prefix}{text}" + (f"||{unit}" if unit else ""), fits

    def _effective(self) -> Criterion:
        prefix, text = self.rng.choice(PREFIXES), self.rng.choice(DATES)

        def fits(r: Resource) -> bool:
            period = r.get("effectivePeriod", {})
            if "effectiveDateTime" in r:
                low, high = span(r["effectiveDateTime"])
            elif period:
                low = span(period["start"])[0] if "start" in period else date.min
                high = span(period["end"])[1] if "end" in period else date.max
            else:
                return False
            return date_fits(prefix, span(text), low, high)

        return f"date={prefix}{text}", fits

    def _subject(self) -> Criterion:
        text, fits = self._plain_patient()
        known = {f"Patient/{p['id']}" for p in self.patients if fits(p)}
        return f"subject:Patient.{text}", lambda r: r.get("subject", {}).get("reference") in known
