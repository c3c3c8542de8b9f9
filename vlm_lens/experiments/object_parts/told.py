"""Intervals as words, and whether they are within or beyond a bound."""

from typing import Any


def within(row: Any, near: float) -> bool | None:
    """True where the whole interval is within, False where it is wholly outside, None else."""
    if row is None or row.low != row.low:
        return None
    if -near <= row.low and row.high <= near:
        return True
    return False if row.low > near or row.high < -near else None


def above_zero(row: Any) -> bool | None:
    """True where the whole interval is above zero, False where no value of it is, None else, or where there is none."""
    if row is None or row.low != row.low:
        return None
    return True if row.low > 0 else False if row.high <= 0 else None


def below_zero(row: Any) -> bool | None:
    """The same of values below zero."""
    if row is None or row.low != row.low:
        return None
    return True if row.high < 0 else False if row.low >= 0 else None


def all_hold(*claims: bool | None) -> bool | None:
    """False where one claim does not hold, None where one cannot be said, True else."""
    return False if False in claims else None if None in claims else True


def plain(row: Any) -> str:
    """A figure with its interval."""
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"


def signed(row: Any) -> str:
    """A difference with its interval."""
    return "not measured" if row is None else f"{row.value:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
