"""Serves a replica set of one node: `python -m support.replica FILE [--port N] [--kind K] [--version V]`. Prints its
port; ends when its standard input does, so that it never outlives the test run."""

from __future__ import annotations

import argparse
import itertools
import os
import socketserver
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import bson

from support.replica.commands import Commands
from support.replica.rights import Grant
from support.replica.storage import Storage

HEADER = struct.Struct("<iiii")
OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
_numbers = itertools.count(1)


class Connection(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    commands: Commands

    def handle(self) -> None:
        application = ""
        while head := self.rfile.read(HEADER.size):
            length, number, _, code = HEADER.unpack(head)
            data = self.rfile.read(length - HEADER.size)
            if len(data) < length - HEADER.size:
                return
            asked = _query(data) if code == OP_QUERY else _message(data)
            if "client" in asked:  # the first message of a connection
                application = asked["client"].get("application", {}).get("name", "")
            answer = self.commands.answer(asked, application)
            if answer is None:
                return
            body = bson.encode(answer)
            if code == OP_QUERY:
                out, reply = OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + body
            else:
                out, reply = OP_MSG, struct.pack("<IB", 0, 0) + body
            self.wfile.write(HEADER.pack(HEADER.size + len(reply), next(_numbers), number, out) + reply)


def _query(data: bytes) -> dict[str, Any]:
    start = data.index(b"\0", 4) + 1 + 8
    return bson.decode(data[start:])


def _message(data: bytes) -> dict[str, Any]:
    """The command, with the documents of its sequences in it."""
    place, body, sequences = 4, {}, {}
    while place < len(data):
        kind, place = data[place], place + 1
        (size,) = struct.unpack_from("<i", data, place)
        if kind == 0:
            body = bson.decode(data[place : place + size])
        else:
            end = data.index(b"\0", place + 4)
            sequences[data[place + 4 : end].decode()] = bson.decode_all(data[end + 1 : place + size])
        place += size
    return body | sequences


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("file", type=Path)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--kind", default="replica")
    options.add_argument("--version", default="7.0")
    options.add_argument("--lifetime-s", type=float, default=60.0)
    options.add_argument("--grant", type=Grant)
    asked = options.parse_args()
    with Server(("127.0.0.1", asked.port), Connection) as server:
        port = server.server_address[1]
        address = f"127.0.0.1:{port}"
        Connection.commands = Commands(
            Storage(asked.file), address, asked.kind, asked.version, asked.lifetime_s, asked.grant
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
