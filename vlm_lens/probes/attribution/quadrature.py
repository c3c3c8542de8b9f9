"""Points and weights of an integral from 0 to 1."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Float

from vlm_lens.errors import InputError

Rule = Literal["gauss", "trapezoid", "left", "right", "midpoint"]


def quadrature(rule: Rule, n_steps: int) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Where to evaluate, and how much each value counts; the weights sum to 1.

    "gauss" (Gauss-Legendre) is exact for polynomials up to degree 2 n - 1; "left" and "right" are the Riemann sums of
    the papers, "right" that of Sundararajan et al.

    Raises:
        InputError: an unknown rule, too few steps.

    >>> quadrature("right", 4)[0].tolist()
    [0.25, 0.5, 0.75, 1.0]
    """
    fewest = 2 if rule == "trapezoid" else 1
    if rule not in _RULES:
        raise InputError("Quadrature", f"one of {', '.join(_RULES)}", repr(rule))
    if isinstance(n_steps, bool) or not isinstance(n_steps, int) or n_steps < fewest:
        raise InputError(f"n_steps of the {rule} rule", f"a whole number of at least {fewest}", repr(n_steps))
    return _RULES[rule](n_steps)


def _gauss(n: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def _trapezoid(n: int) -> tuple[np.ndarray, np.ndarray]:
    weights = np.full(n, 1 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


_RULES: dict[str, Callable[[int], tuple[np.ndarray, np.ndarray]]] = {
    "gauss": _gauss,
    "trapezoid": _trapezoid,
    "left": lambda n: (np.arange(n) / n, np.full(n, 1 / n)),
    "right": lambda n: (np.arange(1, n + 1) / n, np.full(n, 1 / n)),
    "midpoint": lambda n: ((np.arange(n) + 0.5) / n, np.full(n, 1 / n)),
}
