"""The engines of tests that compare them; the naive model of tests/contract is importable."""

from __future__ import annotations

import sys
from pathlib import Path

from support.engines import commands, engine, engine_name, mongo_server, share  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent.parent / "contract"))
