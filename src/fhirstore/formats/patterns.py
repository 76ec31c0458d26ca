"""Regular expressions of packages and clients. RE2 compiles them, so that they take linear time.

Syntax: https://github.com/google/re2/wiki/Syntax. It has no look-around and no back references, and `\\d`, `\\w` and
`\\s` are ASCII. The patterns in the code of this project use `re`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import re2

from fhirstore.model.messages import Message

MAX_PATTERN = 2000
"""The maximum length of a pattern in characters."""
MAX_PROGRAM = 4000
"""The maximum number of instructions of a compiled pattern. Each character costs at most this number of steps."""
MAX_REPLACEMENT_STEPS = 100_000_000
"""The maximum number of steps of `replace_matches`. Each match is a search of its own, so the steps are at most the
square of the number of characters, times the number of instructions."""

_options = re2.Options()
_options.never_capture = True
_options.log_errors = False
_options.max_mem = 1024 * 1024


class Pattern(Protocol):
    """A compiled pattern. `search` and `fullmatch` return None if the text does not match."""

    @property
    def programsize(self) -> int: ...

    def search(self, text: str) -> object | None: ...

    def fullmatch(self, text: str) -> object | None: ...

    def sub(self, substitution: Callable[[object], str], text: str) -> str: ...


@lru_cache(maxsize=128)  # of at most 1 MiB each
def compile_pattern(pattern: str) -> Pattern:
    """Raises ValueError if the pattern has an error, is too long, or needs syntax that RE2 does not have."""
    if len(pattern) > MAX_PATTERN:
        raise _invalid(pattern, Message("it has more than {max_pattern} characters", max_pattern=MAX_PATTERN))
    try:
        compiled: Pattern = re2.compile(pattern, _options)
    except re2.error as e:
        raise _invalid(pattern, e.args[0].decode("utf-8", "replace")) from None
    if compiled.programsize > MAX_PROGRAM:
        raise _invalid(pattern, Message("it is too large"))
    return compiled


def replace_matches(text: str, pattern: str, substitution: str) -> str:
    """The text with each match replaced. Raises ValueError for a pattern that `compile_pattern` refuses, and for a text
    that is too long for the pattern."""
    compiled = compile_pattern(pattern)
    if len(text) ** 2 * compiled.programsize > MAX_REPLACEMENT_STEPS:
        raise ValueError(Message("the text of {count} characters is too long for replaceMatches()", count=len(text)))
    return compiled.sub(lambda match: substitution, text)


def _invalid(pattern: str, reason: str) -> ValueError:
    return ValueError(
        Message(
            "the regular expression {pattern} cannot be used: {reason}. Use the syntax of RE2, without look-around and "
            "back references",
            pattern=repr(pattern[:60]),
            reason=reason,
        )
    )
