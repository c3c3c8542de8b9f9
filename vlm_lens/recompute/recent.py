"""What was worked out for one layer and is likely wanted in the next."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Holds what was asked for since the last turn but one, so that memory does not grow with the layers."""

    def __init__(self) -> None:
        self._before: dict[Hashable, Value] = {}
        self._now: dict[Hashable, Value] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """What is held for a key, or was just made."""
        if key not in self._now:
            self._now[key] = self._before[key] if key in self._before else make()
        return self._now[key]

    def turn(self) -> None:
        """Let go of what was not asked for since the last turn."""
        self._before, self._now = self._now, {}
