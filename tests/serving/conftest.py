from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.serving import Worker, serving


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """With two threads, and bodies up to 100 000 bytes."""
    with serving(monkeypatch, max_body_bytes=100_000) as running:
        yield running
