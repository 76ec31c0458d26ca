"""The stand-in for MongoDB: mongoeco's in-memory wire server. Run by its own Python 3.13; prints its port.

Ends when its standard input does, so that it never outlives the test run. One fault of it is mended here: a
transaction whose commit failed stays open in it, and the next one of that session goes on with its writes. In MongoDB
a failed commit has ended the transaction, and a new one of a session ends the one before.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any


def mend_sessions() -> None:
    from mongoeco.wire.sessions import WireSessionStore

    begin = WireSessionStore._apply_transaction_metadata

    def begin_anew(session: Any, body: dict[str, Any]) -> None:
        if body.get("startTransaction") is True and session.transaction_active:
            session.abort_transaction()
        begin(session, body)

    WireSessionStore._apply_transaction_metadata = staticmethod(begin_anew)


async def main() -> None:
    from mongoeco.wire import AsyncMongoEcoProxyServer

    mend_sessions()
    server = AsyncMongoEcoProxyServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    address = await server.start()
    sys.stdout.write(f"{address.port}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.close()


if __name__ == "__main__":
    asyncio.run(main())
