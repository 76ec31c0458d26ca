"""Terminology through several worker processes: an answer after an acknowledged write knows the write."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.animals import ANIMALS, WHOLE, S, V, codes
from support.process import Process

ROUNDS, READERS = 15, 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("terminology") / "store.db", workers=3, threads=2)
    yield process
    process.stop()


def test_no_worker_answers_from_what_was_before(server: Process) -> None:
    made = server.call("POST", "CodeSystem", ANIMALS)[2]
    assert server.call("POST", "ValueSet", WHOLE)[0] == 201

    def expanded(_: int) -> list[str]:
        status, _, body = server.call("GET", f"ValueSet/$expand?url={V}whole")
        assert status == 200, body
        return codes(body)

    def is_code(code: str) -> Any:
        body = server.call("GET", f"CodeSystem/$validate-code?url={S}&code={code}")[2]
        return body["parameter"][0]["valueBoolean"]

    with ThreadPoolExecutor(READERS) as pool:
        for n in range(ROUNDS):
            changed = made | {"concept": [{"code": f"code-{n}"}]}
            assert server.call("PUT", f"CodeSystem/{made['id']}", changed)[0] == 200
            assert list(pool.map(expanded, range(READERS))) == [[f"code-{n}"]] * READERS
            assert list(pool.map(is_code, [f"code-{n}"] * READERS)) == [True] * READERS
