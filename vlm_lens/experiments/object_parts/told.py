"""Intervals as words."""

from typing import Any


def plain(row: Any) -> str:
    """A figure with its interval."""
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"


def signed(row: Any) -> str:
    """A difference with its interval."""
    return "not measured" if row is None else f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
