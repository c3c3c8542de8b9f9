"""Localisation: whether attention is highest at the object that is spoken of."""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from vlm_lens.errors import InputError

NEIGHBOURS = np.ones((3, 3), bool)


def dilated(
    mask: Bool[np.ndarray, "patch_row patch_col"], tolerance: int = 1
) -> Bool[np.ndarray, "patch_row patch_col"]:
    """The patches within some steps of a mask, a step going to any of the eight neighbours (Chebyshev distance).

    Raises:
        InputError: a tolerance below 0.
    """
    if tolerance < 0:
        raise InputError("Tolerance", "0 tokens or more", tolerance)
    if tolerance == 0:  # to scipy, no iterations mean as many as change something
        return mask.copy()
    found: Bool[np.ndarray, "patch_row patch_col"] = ndimage.binary_dilation(mask, NEIGHBOURS, iterations=tolerance)
    return found


def peak_is_near(
    attention: Float[np.ndarray, "*layer patch_row patch_col"],
    mask: Bool[np.ndarray, "mask_row mask_col"],
    *,
    tolerance: int = 1,
) -> Float[np.ndarray, "*layer"]:
    """1 where the largest attention lies within some tokens of the object, else 0; of equal peaks the share that does.

    Args:
        attention: over the patches of a picture, in each layer: of the tokens that name the object, mean over these
            tokens and over heads.
        mask: the object's patches.
        tolerance: how many tokens off the object a peak may lie: 1, which is 40 pixels in the paper.

    Raises:
        InputError: attention that is no number, a mask of another grid or without a patch, a tolerance below 0.

    Source: "What's in the Image?", section 4.5 and figure 7.
    """
    if mask.shape != attention.shape[-2:]:
        raise InputError("Mask of the object", f"the grid of the attention, {attention.shape[-2:]}", mask.shape)
    if not mask.any():
        raise InputError("Mask of the object", "at least one patch", "none")
    if np.isnan(attention).any():
        raise InputError("Attention to localise", "a number for each patch", f"{int(np.isnan(attention).sum())} NaN")
    is_peak = attention == attention.max(axis=(-2, -1), keepdims=True)
    return np.asarray(is_peak[..., dilated(mask, tolerance)].sum(axis=-1) / is_peak.sum(axis=(-2, -1)))


def chance_of_peak(mask: Bool[np.ndarray, "patch_row patch_col"], *, tolerance: int = 1) -> float:
    """How often a peak at any patch by chance would count: the share of the grid that the dilated mask covers."""
    return float(dilated(mask, tolerance).mean())


def by_windows(values: Float[np.ndarray, "*any layer"], width: int, step: int = 1) -> Float[np.ndarray, "*any window"]:
    """Means over consecutive layers: window w is of the layers from `w * step` on.

    The paper prints accuracy "averaged for 10 consecutive layers" (4 for LLaVA) and does not say whether windows
    overlap: with `step=1` they do, with `step=width` each layer is in one.

    Args:
        values: such as the accuracy in each layer.
        width: layers in a window.
        step: from one window to the next. Layers that fill no window at the end are left out.

    Raises:
        InputError: windows wider than there are layers, or a width or step below 1.

    Example:
        >>> by_windows(np.array([0.0, 1.0, 1.0, 0.0]), 2).tolist()
        [0.5, 1.0, 0.5]
    """
    n_layers = values.shape[-1]
    if not (1 <= width <= n_layers and step >= 1):
        raise InputError("Windows of layers", f"a width from 1 to {n_layers} and a step from 1", f"{width} and {step}")
    windows = np.lib.stride_tricks.sliding_window_view(values, width, axis=-1)
    found: Float[np.ndarray, "*any window"] = windows[..., ::step, :].mean(axis=-1)
    return found
