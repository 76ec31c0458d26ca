"""nginx and HAProxy, run with the configuration of docs/tls.md, so that tests cover the documentation."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.ports import free_port
from support.tls import World

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "tls.md"
_PLACES = ("/usr/sbin", "/usr/local/sbin")
"""Folders of servers that are often missing in the PATH of a user."""


@dataclass(frozen=True)
class Proxy:
    """How one proxy is run. language: of the block in the guide. rest: what its configuration needs around this block,
    from the folder of the run. command: from program, folder and file."""

    program: str
    language: str
    rest: Callable[[Path], tuple[str, str]]
    command: Callable[[str, Path, Path], list[str]]


def _around_nginx(folder: Path) -> tuple[str, str]:
    user = "user root;\n" if os.geteuid() == 0 else ""
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"{user}pid {folder}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}", "}\n"


PROXIES: Mapping[str, Proxy] = {
    "nginx": Proxy(
        "nginx",
        "nginx",
        _around_nginx,
        lambda program, folder, file: [
            program, "-p", f"{folder}/", "-c", str(file), "-e", "stderr", "-g", "daemon off;"
        ],
    ),
    "HAProxy": Proxy(
        "haproxy",
        "haproxy",
        lambda folder: ("", ""),
        lambda program, folder, file: [program, "-db", "-C", str(folder), "-f", str(file)],
    ),
}  # fmt: skip


def block(language: str) -> str:
    """The only code block of a language in the guide."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    return str(found)


def program(name: str) -> str:
    """The path of a proxy. Skips the test if it is not installed."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_PLACES))
    if found is None:
        pytest.skip(f"{name} is not installed: the configuration of docs/tls.md for it is not tried out here")
    return found


def certificates(world: World, folder: Path) -> None:
    """Under the names that the guide uses."""
    chain, key = Path(world.server.chain).read_text(), Path(world.server.key).read_text()
    lists = world.crl.read_text() + Path(world.root.revocations()).read_text()
    files = {
        "server.pem": chain,
        "server.key": key,
        "server-with-key.pem": chain + key,
        "client-authorities.pem": world.root.file.read_text() + world.inner.file.read_text(),
        "all-authorities.crl": lists,
    }
    for name, text in files.items():
        (folder / name).write_text(text)


@contextmanager
def running(
    name: str, world: World, to: int, folder: Path, change: Callable[[str], str] = lambda text: text
) -> Iterator[int]:
    """The proxy `name` in front of the server on port `to` of this machine; gives its port. change: of the guide's
    block, where the guide tells of another way."""
    proxy = PROXIES[name]
    path = program(proxy.program)
    folder.mkdir(exist_ok=True)
    certificates(world, folder)
    port = free_port()
    text = change(block(proxy.language))
    for given, here in (
        (r"\b127\.0\.0\.1:8080\b", f"127.0.0.1:{to}"),
        (r"(?<=listen )443\b|(?<=bind ):443\b", f"127.0.0.1:{port}"),
    ):
        text, count = re.subn(given, here, text)
        assert count == 1, (given, text)
    before, behind = proxy.rest(folder)
    file = folder / "proxy.conf"
    file.write_text(before + text + behind)
    log = folder / "proxy.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            proxy.command(path, folder, file), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        _wait(port, process, log)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            pass
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < give_up, log.read_text()
        time.sleep(0.05)
