"""Precision, recall and their harmonic mean, of counts.

Where a share has nothing to divide by it is 0, as in scikit-learn; but where there was nothing to find and nothing was
named, all three are 1: two captions without an object agree about objects.
"""

from vlm_lens.errors import InputError


def precision(n_true_positive: int, n_false_positive: int, n_false_negative: int) -> float:
    """The share of what was named that is there, TP / (TP + FP).

    Example:
        >>> precision(5, 0, 4), precision(0, 0, 3), precision(0, 0, 0)
        (1.0, 0.0, 1.0)

    Raises:
        InputError: a count below 0.
    """
    return _share(n_true_positive, n_false_positive, _checked(n_true_positive, n_false_positive, n_false_negative))


def recall(n_true_positive: int, n_false_positive: int, n_false_negative: int) -> float:
    """The share of what is there that was named, TP / (TP + FN).

    Example:
        >>> recall(5, 3, 0), recall(0, 3, 0), recall(0, 0, 0)
        (1.0, 0.0, 1.0)

    Raises:
        InputError: a count below 0.
    """
    return _share(n_true_positive, n_false_negative, _checked(n_true_positive, n_false_positive, n_false_negative))


def f1(n_true_positive: int, n_false_positive: int, n_false_negative: int) -> float:
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN).

    Example:
        >>> f1(2, 1, 1), f1(0, 1, 0), f1(0, 0, 0)
        (0.6666666666666666, 0.0, 1.0)

    Raises:
        InputError: a count below 0.
    """
    total = _checked(n_true_positive, n_false_positive, n_false_negative)
    return _share(2 * n_true_positive, n_false_positive + n_false_negative, total)


def _share(n_part: int, n_rest: int, n_all: int) -> float:
    if not n_all:
        return 1.0
    return n_part / (n_part + n_rest) if n_part else 0.0


def _checked(n_true_positive: int, n_false_positive: int, n_false_negative: int) -> int:
    counts = (n_true_positive, n_false_positive, n_false_negative)
    if min(counts) < 0:
        raise InputError("F1", "counts of 0 or more", f"TP, FP, FN = {counts}")
    return sum(counts)
