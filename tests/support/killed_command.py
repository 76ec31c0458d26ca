"""`fhirstore` that kills itself with SIGKILL at a chosen moment: python -m support.killed_command MOMENT NTH ARGUMENTS…

MOMENT, of the NTH batch that a migration puts into its target: before | inside (all is written, nothing committed) |
after (it is committed). Batches are small, so that there are many.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from fhirstore.cli import main
from fhirstore.commands import migrate_copy

BATCH = 25


def dying(moment: str, nth: int, scheme: str) -> None:
    left = nth

    def due() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def killed(real: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> None:
            now = due()
            if now and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments)
            if now:
                os.kill(os.getpid(), signal.SIGKILL)

        return run

    engine = "mongo" if scheme.startswith("mongodb") else "sqlite"
    package = importlib.import_module(f"fhirstore.store.{engine}.store")
    if moment == "inside":
        name = "MongoRestore" if engine == "mongo" else "SqliteRestore"
        restore = getattr(package.transfer, name)
        restore.restore = killed(restore.restore)
    else:
        store = package.MongoStore if engine == "mongo" else package.SqliteStore
        store.restore = killed(store.restore)


if __name__ == "__main__":
    moment, nth, *arguments = sys.argv[1:]
    migrate_copy.MAX_BATCH_VERSIONS = BATCH
    dying(moment, int(nth), arguments[arguments.index("--to") + 1])
    main(arguments)
