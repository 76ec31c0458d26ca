"""Runs the in-memory wire server of mongoeco, a stand-in for MongoDB, on Python 3.13. Prints its port.

Exits when its standard input is closed, so that it does not outlive the test run. Corrects a fault of mongoeco: a
transaction whose commit failed stays open, and the next transaction of the session continues it. In MongoDB a failed
commit ends the transaction, and a new transaction ends the previous one of its session.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def correct_sessions() -> None:
    from mongoeco.wire.sessions import WireSessionStore

    begin = WireSessionStore._apply_transaction_metadata

    def begin_new(session: Any, body: dict[str, Any]) -> None:
        if body.get("startTransaction") is True and session.transaction_active:
            session.abort_transaction()
        begin(session, body)

    WireSessionStore._apply_transaction_metadata = staticmethod(begin_new)


def skip_scans() -> None:
    """Each insert compares the new `_id` with those of all documents, because 1 and 1.0 are equal. Equal strings have
    equal storage keys, which are looked up before."""
    from mongoeco.engines.memory import MemoryEngine

    ensure = MemoryEngine._ensure_unique_indexes

    def ensure_quickly(
        engine: Any, db: str, collection: str, document: dict[str, Any], *, scan_payload_id: bool = False, **more: Any
    ) -> None:
        scan = scan_payload_id and type(document.get("_id")) is not str
        ensure(engine, db, collection, document, scan_payload_id=scan, **more)

    MemoryEngine._ensure_unique_indexes = ensure_quickly


async def main() -> None:
    from mongoeco.wire import AsyncMongoEcoProxyServer

    correct_sessions()
    skip_scans()
    server = AsyncMongoEcoProxyServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    address = await server.start()
    sys.stdout.write(f"{address.port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.close()


if __name__ == "__main__":
    asyncio.run(main())
