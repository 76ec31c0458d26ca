"""What a well-behaved client notices of 500 slow ones of each kind, without TLS and with client certificates.

python benchmarks/slow_clients.py [--clients 500] [--seconds 10] [--kind KIND ...] [--mode plain tls]; see README.md.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support.tls import TlsProcess, World  # noqa: E402

HOST = "127.0.0.1"
LARGE = "/fhir/Patient?_count=1000"
"""A search with a response of some megabytes."""
_HEAD = b"Host: localhost\r\nContent-Type: application/fhir+json\r\n"
_POST = b"POST /fhir/Patient HTTP/1.1\r\n" + _HEAD + b"Content-Length: 1000\r\n\r\n"

Settled = Callable[[], None]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Settled], Awaitable[None]]
"""Calls `settled` when the client is as slow as it will be, and returns when the server has closed the connection."""


async def _forever(reader: asyncio.StreamReader) -> None:
    """Until the server closes."""
    while await reader.read(65536):
        pass


def sends(data: bytes, drop: bytes = b"") -> Behaviour:
    """Sends the data, then one more byte each second, then nothing."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settled: Settled) -> None:
        writer.write(data)
        settled()
        closed = asyncio.ensure_future(_forever(reader))
        while drop and not closed.done():
            writer.write(drop)
            await asyncio.wait([closed], timeout=1)
        await closed

    return behave


async def _reads_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settled: Settled) -> None:
    """Reads one byte, when the server has made the response."""
    writer.write(f"GET {LARGE} HTTP/1.1\r\n".encode() + _HEAD + b"\r\n")
    await reader.readexactly(1)
    settled()
    await asyncio.sleep(3600)


async def _is_idle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, settled: Settled) -> None:
    writer.write(b"GET /fhir/Patient/p0 HTTP/1.1\r\n" + _HEAD + b"\r\n")
    await reader.readexactly(1)
    settled()
    await _forever(reader)


KINDS: dict[str, Behaviour] = {
    "silent": sends(b""),
    "one byte": sends(b"G"),
    "half a head": sends(b"GET /fhir/metadata HTTP/1.1\r\n" + _HEAD),
    "dripping head": sends(b"GET /fhir/metadata HTTP/1.1\r\n" + _HEAD + b"X-Drip: ", b"x"),
    "half a body": sends(_POST + b"x" * 500),
    "dripping body": sends(_POST, b"x"),
    "reads nothing": _reads_nothing,
    "kept alive": _is_idle,
    "TLS handshake": sends(b""),
    "half a TLS handshake": sends(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 30),
}
WITHOUT_TLS = ("silent", "half a TLS handshake")


# --- the slow clients, in a process of their own ------------------------------------------------------


async def _one(port: int, kind: str, number: int, context: ssl.SSLContext | None, opened: list[int]) -> None:
    """Connects again a second after the server has closed the connection."""
    source = f"127.0.{1 + number % 200}.{1 + number // 200}"

    def settled() -> None:
        nonlocal is_settled
        is_settled = True
        opened[0] += 1

    while True:
        sock, is_settled = socket.socket(), False
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        try:
            sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, (HOST, port))
            name = {"ssl": context, "server_hostname": HOST} if context is not None else {}
            reader, writer = await asyncio.open_connection(sock=sock, limit=4096, **name)
            try:
                await KINDS[kind](reader, writer, settled)
            finally:
                opened[0] -= is_settled
                writer.close()
        except (OSError, asyncio.IncompleteReadError):
            pass
        sock.close()
        opened[1] += 1
        await asyncio.sleep(1)


async def _attack(port: int, kinds: list[str], clients: int, spread: bool, folder: str | None) -> None:
    opened = [0, 0]
    context = None
    if folder is not None:
        context = ssl.create_default_context(cafile=f"{folder}/authority.pem")
        context.load_cert_chain(f"{folder}/client.pem", f"{folder}/client.key")
    tasks = []
    for number in range(clients):
        for kind in kinds:
            own = None if kind in WITHOUT_TLS else context
            tasks.append(asyncio.ensure_future(_one(port, kind, number if spread else 0, own, opened)))
        if number % 20 == 19:
            await asyncio.sleep(0.05)
    while True:
        print(json.dumps(opened), flush=True)
        await asyncio.sleep(1)


@contextmanager
def attacked(port: int, kinds: list[str], clients: int, spread: bool, folder: Path | None) -> Iterator[list[int]]:
    """Yields the numbers of open connections and of those that the server closed, when most are open."""
    command = [sys.executable, __file__, "--attack", str(port), "--clients", str(clients), "--kind", *kinds]
    command += ["--spread"] if spread else []
    command += ["--folder", str(folder)] if folder is not None else []
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        wanted, last, since = clients * len(kinds), 0, time.monotonic()
        while True:
            opened = json.loads(process.stdout.readline())
            if opened[0] > last:
                last, since = opened[0], time.monotonic()
            if opened[0] >= 0.95 * wanted or time.monotonic() > since + 8:
                break
        yield opened
    finally:
        process.kill()
        process.wait()


# --- the well-behaved client --------------------------------------------------------------------------


def measure(server: TlsProcess, seconds: float, keep: bool) -> tuple[list[float], int]:
    """(times of requests in ms, failures). keep: on one connection; otherwise on a new one for each request."""
    times, failures, connection = [], 0, None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        try:
            connection = connection or server.connection()
            connection.request("GET", "/fhir/Patient/p0")
            assert connection.getresponse().read()
            if not keep:
                connection.close()
        except (OSError, http.client.HTTPException):
            failures += 1
            connection = None
            continue
        times.append(1000 * (time.perf_counter() - begin))
        time.sleep(0.005)
        if not keep:
            connection = None
    return times, failures


def show(name: str, opened: list[int], server: TlsProcess, seconds: float) -> bool:
    text, good = f"{name:22}{opened[0]:6} open", True
    for keep in (True, False):
        times, failures = measure(server, seconds, keep)
        if len(times) < 2:
            return show_none(text, failures)
        p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
        good = good and p99 < 200
        text += f" | {p50:7.1f} {p99:7.1f} {max(times):7.1f} ms {failures:3} failed"
    print(text, flush=True)
    return good


def show_none(text: str, failures: int) -> bool:
    print(f"{text} | no responses, {failures} failed", flush=True)
    return False


def run(mode: str, given: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory(prefix="fhirstore-slow-") as name:
        folder = Path(name)
        world = World.make(folder)
        context = world.context("good") if mode == "tls" else None
        settings = world.settings() if mode == "tls" else {}
        client = world.clients["good"]
        assert client is not None
        (folder / "authority.pem").write_bytes(world.root.file.read_bytes())
        (folder / "client.pem").write_bytes(Path(client.chain).read_bytes())
        (folder / "client.key").write_bytes(Path(client.key).read_bytes())
        with_workers = type("_", (TlsProcess,), {"context": context})
        file = folder / "settings.json"
        file.write_text(json.dumps(settings))
        server = with_workers(folder / "store.db", "--config", str(file), *given.option, workers=2)
        try:
            _load(server)
            print(f"{mode}: p50, p99, max and failures on one connection | on new connections")
            good = show("none", [0, 0], server, given.seconds)
            kinds = [kind for kind in given.kind or [*KINDS, "all"] if mode == "tls" or "TLS" not in kind]
            for kind in kinds:
                some = [k for k in KINDS if mode == "tls" or "TLS" not in k] if kind == "all" else [kind]
                with attacked(server.port, some, given.clients, given.spread, folder if context else None) as opened:
                    good = show(kind, opened, server, given.seconds) and good
            return show("none", [0, 0], server, given.seconds) and good
        finally:
            server.stop()


def _load(server: TlsProcess) -> None:
    text = {"status": "generated", "div": f"<div xmlns='http://www.w3.org/1999/xhtml'>{'x' * 3000}</div>"}
    entries = [
        {"resource": {"resourceType": "Patient", "id": f"p{n}", "text": text},
         "request": {"method": "PUT", "url": f"Patient/p{n}"}}
        for n in range(1000)
    ]  # fmt: skip
    status, _, answer = server.call("POST", "", {"resourceType": "Bundle", "type": "transaction", "entry": entries})
    assert status == 200, answer


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--clients", type=int, default=500, help="slow clients of each kind")
    options.add_argument("--seconds", type=float, default=10.0, help="length of a measurement")
    options.add_argument(
        "--kind", nargs="*", choices=[*KINDS, "all"], help="kinds of slow clients; default: each, then all"
    )
    options.add_argument("--mode", nargs="*", default=["plain", "tls"], choices=["plain", "tls"])
    options.add_argument("--spread", action="store_true", help="every slow client has an address of its own")
    options.add_argument("--option", nargs="*", default=[], help="options of the server")
    options.add_argument("--attack", type=int, help=argparse.SUPPRESS)
    options.add_argument("--folder", help=argparse.SUPPRESS)
    given = options.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if given.attack:
        asyncio.run(_attack(given.attack, given.kind, given.clients, given.spread, given.folder))
    return 0 if all(run(mode, given) for mode in given.mode) else 1


if __name__ == "__main__":
    sys.exit(main())
