"""How many files a typical request passes through; see tools/count_flow.py."""

from __future__ import annotations

from typing import Any

import pytest
from support.tool import load_tool

count_flow = load_tool("count_flow")


@pytest.fixture(scope="module")
def traces() -> dict[str, Any]:
    found: dict[str, Any] = count_flow.traces()
    return found


@pytest.mark.parametrize("name", count_flow.FLOWS)
def test_a_flow_stays_below_its_bar(name: str, traces: dict[str, Any]) -> None:
    now, bar = traces[name].count, count_flow.FLOWS[name].bar
    assert (now.files <= bar.files, now.changes <= bar.changes) == (True, True), (now, bar)


def test_a_change_is_a_call_into_another_file_than_the_call_before() -> None:
    calls = (("a", "f"), ("b", "g"), ("b", "h"), ("a", "f"))
    trace = count_flow.Trace(calls)
    assert (trace.count, list(trace.changes())) == (count_flow.Count(2, 2), [1, 3])
