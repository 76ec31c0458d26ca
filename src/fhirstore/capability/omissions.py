"""What a deployment leaves out of installed packages, because it is faulty or fhirstore does not support it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fhirstore.errors import StartupError


class Omissions:
    """The reasons, each with its file and JSON path, in the order in which they were found."""

    def __init__(self) -> None:
        self._texts: dict[str, None] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(self._texts)

    def add(self, text: str) -> None:
        self._texts.setdefault(text)

    @contextmanager
    def tolerate(self, optional: bool) -> Iterator[None]:
        """Turns a StartupError of the block into an omission if optional is true, and passes it on otherwise.

        optional: an installed package, not the user, asks for the result of the block."""
        try:
            yield
        except StartupError as e:
            if not optional:
                raise
            self.add(str(e))
