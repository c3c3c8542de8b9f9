"""Windows of layers: the paper's six, in a model of any depth, and one that slides."""

from collections.abc import Mapping

from vlm_lens.errors import InputError

_PAPER_LAYERS = 32
_PAPER: Mapping[str, tuple[int, int]] = {
    "early": (0, 9),
    "early-mid": (5, 14),
    "mid": (11, 20),
    "mid-late": (15, 24),
    "late": (21, 31),
    "all": (0, 31),
}
"""First and last layer, both in, counted from 0 (section 4.2 with the authors' code: Neo et al. 2024)."""

NAMES = tuple(_PAPER)


def paper_windows(n_layers: int) -> dict[str, range]:
    """The paper's windows, at the same share of the depth in a model of other depth.

    >>> paper_windows(32)["mid-late"], paper_windows(6)["mid-late"]
    (range(15, 25), range(3, 5))
    """
    scale = n_layers / _PAPER_LAYERS
    return {
        name: range(start := min(round(first * scale), n_layers - 1), max(start + 1, round((last + 1) * scale)))
        for name, (first, last) in _PAPER.items()
    }


def paper_width(n_layers: int) -> int:
    """The width of figure 8's sliding window, 10 of 32 layers, at the same share of another depth.

    >>> paper_width(32), paper_width(6)
    (10, 2)
    """
    return max(1, round(10 * n_layers / _PAPER_LAYERS))


def sliding_windows(n_layers: int, width: int) -> dict[str, range]:
    """Every window of so many layers, named by its first and last.

    Raises:
        InputError: wider than the model is deep.
    """
    if not 1 <= width <= n_layers:
        raise InputError("Width of the sliding window", f"1 to {n_layers} layers", width, "Set --set width=...")
    return {f"{first}-{first + width - 1}": range(first, first + width) for first in range(n_layers - width + 1)}
