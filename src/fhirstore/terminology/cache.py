"""A least-recently-used cache that threads can share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from cachetools import LRUCache

_Value = TypeVar("_Value")


class SharedCache(Generic[_Value]):
    """`cachetools.LRUCache` behind a lock. maxsize: number of values."""

    def __init__(self, maxsize: int):
        self._lock = threading.Lock()
        self._values: LRUCache[Hashable, _Value] = LRUCache(maxsize)

    def peek(self, key: Hashable) -> _Value | None:
        """The cached value, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: Hashable, value: _Value) -> None:
        with self._lock:
            self._values[key] = value

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """The cached value, else the result of `make`, which runs outside the lock and may run twice."""
        found = self.peek(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def values(self) -> list[_Value]:
        with self._lock:
            return list(self._values.values())
