"""What validation costs: a resource, a Bundle, compiling, and a create over HTTP. Prints figures; see README.md.

python benchmarks/validation.py [--rounds 10] [--seconds 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import agenda
from fhirstore.definitions.catalog import Catalog
from fhirstore.definitions.core import Definitions, load
from fhirstore.model.profiles import ProfileRequirement
from fhirstore.plugins.manager import Plugins
from fhirstore.validation.validator import ResourceValidator
from run_floor import Server, measure, started, workloads

Json = dict[str, Any]
SAS_FR = "http://sas.fr/fhir/StructureDefinition/"


def resource_of(type: str) -> Json:
    return next(r for r in agenda.resources() if r["resourceType"] == type and r.get("status") != "busy")


def searchset(size: int) -> Json:
    slots = [r for r in agenda.resources() if r["resourceType"] == "Slot" and r["status"] == "free"][:size]
    entries = [
        {"fullUrl": f"http://host/fhir/Slot/{s['id']}", "resource": s, "search": {"mode": "match"}} for s in slots
    ]
    return {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}


def median(call: Callable[[], Any], times: int) -> float:
    """Seconds of a call."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def in_process(name: str, resource: Json, profile: str, times: int) -> None:
    catalog = Catalog(load(), Plugins.load(["sas"]).packages())
    validator = ResourceValidator(catalog)
    requirements = [ProfileRequirement(profile, "claimed", "enforce", "warning")]
    faults = [i for i in validator.validate(resource, requirements) if i.is_error]
    if faults:
        raise SystemExit(f"{name}: {faults[0]}")
    base = median(lambda: validator.validate(resource, []), times)
    both = median(lambda: validator.validate(resource, requirements), times)
    print(f"{name:42}{1000 * base:9.3f} ms of R4{1000 * both:9.3f} ms with {profile.rpartition('/')[2]}", flush=True)


def compiling() -> None:
    """Reads the definitions again, so that nothing is cached."""
    start = time.perf_counter()
    catalog = Catalog(Definitions(), Plugins.load(["sas"]).packages())
    validator = ResourceValidator(catalog)
    profiles = [r["url"] for p in catalog.packages for r in p.resources if r["resourceType"] == "StructureDefinition"]
    validator.prepare([ProfileRequirement(url, text_only_severity="warning") for url in profiles])
    sas = time.perf_counter() - start
    generic = [{"resourceType": name} for name in sorted(catalog.core.resource_types)]
    for resource in generic:
        validator.validate(resource, [])
    print(f"{'reading and compiling the SAS package':42}{sas:9.3f} s ({len(profiles)} profiles and extensions)")
    print(f"{'and then all types of R4':42}{time.perf_counter() - start:9.3f} s", flush=True)


def over_http(rounds: int, seconds: float, port: int) -> None:
    """W2 (POST Appointment), one client, turns of two servers in alternation; the ratio is the median of the turns'."""
    w2 = next(w for w in workloads()[1] if w.name.startswith("W2"))
    with tempfile.TemporaryDirectory(prefix="fhirstore-validation-") as folder:

        def command(mode: str, at: int) -> tuple[str, ...]:
            store = f"sqlite:///{folder}/{mode}.db"
            options = ("--port", str(at), "--store", store, "--plugin", "sas", "--validation", mode)
            return ("-m", "fhirstore", "serve", *options)

        with (
            started("enforce", port, *command("enforce", port)) as on,
            started("off", port + 1, *command("off", port + 1)) as off,
        ):
            servers: list[Server] = [on, off]
            for server in servers:
                measure(server, w2, 1.0)  # warm-up
                server.times.clear()
            turns: dict[str, list[float]] = {"enforce": [], "off": []}
            for turn in range(rounds):
                for server in servers if turn % 2 else reversed(servers):
                    server.times.clear()
                    measure(server, w2, seconds)
                    turns[server.name].append(statistics.median(server.times[w2.name]))
    p50 = {name: statistics.median(found) for name, found in turns.items()}
    ratio = statistics.median(one / other for one, other in zip(turns["enforce"], turns["off"], strict=True))
    print(f"{w2.name:42}{1000 * p50['enforce']:9.3f} ms enforced{1000 * p50['off']:9.3f} ms off{ratio:9.2f} times")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20, help="turns of each server")
    options.add_argument("--seconds", type=float, default=0.5, help="length of a turn")
    options.add_argument("--port", type=int, default=18090, help="the first of two free ports")
    given = options.parse_args()
    compiling()
    in_process("Slot", resource_of("Slot"), SAS_FR + "FrSlotAgregateur", 2000)
    in_process("Appointment", json.loads(agenda.appointment(1)), SAS_FR + "FrAppointmentSAS", 2000)
    in_process("searchset of 1000 Slots", searchset(1000), SAS_FR + "BundleAgregateur", 10)
    over_http(given.rounds, given.seconds, given.port)


if __name__ == "__main__":
    main()
