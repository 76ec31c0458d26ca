from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.registry import Registry, running


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with running() as registry:
        yield registry
