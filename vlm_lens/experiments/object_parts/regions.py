"""The patches that saw a part of an object."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlm_lens.data import Annotation
from vlm_lens.errors import InputError
from vlm_lens.layout import Region


@dataclass(frozen=True, eq=False)
class PartRegion:
    """One part label of one object in one picture.

    Attributes:
        category: the object's class.
        part: the part's label, left and right together.
        region: its patches; may be empty, where the crop cut the part away or it covers no patch enough.
        share: the share of the picture's pixels that it has.
    """

    category: str
    part: str
    region: Region
    share: float


def part_regions(layout: Any, annotation: Annotation, threshold: float = 0.0, **which: int) -> list[PartRegion]:
    """The parts of an object, in the order in which the data have them.

    Args:
        layout: a `TokenLayout`, or what `HookedCLIP.prepare` gives.
        annotation: the object.
        threshold: a patch belongs to a part that covers more than this share of it; at 0 any overlap counts.
        which: the image, where there are several.

    Raises:
        InputError: the threshold is no share, or the picture's pixels are unknown.
    """
    if not 0 <= threshold < 1:
        raise InputError("Option 'threshold'", "0 <= threshold < 1", threshold)
    found = []
    for part, mask in annotation.parts.items():
        if not mask.any():
            continue
        whole = layout.patches(**which)
        assert whole.span.geometry is not None
        patches = whole.span.geometry.cover_patches(mask, whole.span.grid) > threshold
        region = layout.patches(np.asarray(patches), **which)
        found.append(PartRegion(annotation.category, part, region, float(mask.mean())))
    return found


def shifted(region: Region, random: np.random.Generator) -> Region | None:
    """The region's shape at another place of the picture, drawn among those that share no patch with it.

    Args:
        region: at least one patch.
        random: draws the place.

    Returns:
        None where there is no such place.
    """
    patches = region.patches.numpy()
    rows, columns = np.nonzero(patches)
    n_rows, n_columns = patches.shape
    free = []
    for down in range(-rows.min(), n_rows - rows.max()):
        for right in range(-columns.min(), n_columns - columns.max()):
            if not patches[rows + down, columns + right].any():
                free.append((down, right))
    if not free:
        return None
    down, right = free[int(random.integers(len(free)))]
    return replace(region, patch_ids=frozenset(((rows + down) * n_columns + columns + right).tolist()))
