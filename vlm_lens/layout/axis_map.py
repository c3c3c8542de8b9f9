"""One axis of the way from the model's pixels back to the picture's, in exact arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class AxisMap:
    """original = scale * model + offset, both measured in pixels from the edge of the picture.

    Fractions, so that a patch boundary which falls exactly on a pixel boundary of the picture
    does so, and a mask beside it does not count as overlapping.
    """

    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    def resized(self, size: int, new_size: int) -> "AxisMap":
        """The map after the axis was resized from `size` to `new_size`."""
        return AxisMap(self.scale * Fraction(size, new_size), self.offset)

    def windowed(self, start: int) -> "AxisMap":
        """The map after a window starting at `start` (negative: padding came before) was cut."""
        return AxisMap(self.scale, self.offset + self.scale * start)

    def to_original(self, edges: Sequence[int]) -> tuple[Fraction, ...]:
        """Where boundaries given in model pixels lie in the original picture; not clipped."""
        return tuple(self.scale * edge + self.offset for edge in edges)


def clip_edges(edges: Sequence[Fraction], size: int) -> tuple[Fraction, ...]:
    """Boundaries moved into the picture, [0, size]."""
    return tuple(min(max(edge, Fraction(0)), Fraction(size)) for edge in edges)


def sum_between(values: Float[np.ndarray, "size rest"], edges: Sequence[Fraction]) -> Float[np.ndarray, "between rest"]:
    """The integral of a step function between consecutive edges, along the first axis.

    `values[k]` holds on [k, k + 1); `edges` ascend and lie within [0, size]. For boolean values
    an interval that touches no True one sums to exactly 0.
    """
    size = values.shape[0]
    whole = np.array([min(edge.numerator // edge.denominator, size - 1) for edge in edges])
    rest = np.array([float(edge - int(k)) for edge, k in zip(edges, whole, strict=True)])
    running: Int[np.ndarray, "size_plus_1 rest"] = np.concatenate(
        [np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)]
    )
    at_edges = running[whole] + rest[:, None] * values[whole]
    return np.diff(at_edges, axis=0)
