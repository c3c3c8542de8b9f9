"""What the vision tower is trained on: a scene's pixels, and what each patch shows of it.

Pixels take the processor's path (bicubic to 96 x 96, rescaled, normalised), cut in two: the resize once, when
a scene is drawn, and the arithmetic on whole batches.
"""

from functools import cache

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from vlm_lens.demo.architecture import GRID_SIZE, IMAGE_SIZE, N_PATCHES, image_processor
from vlm_lens.demo.scenes import COLORS, KINDS, PARTS, SURFACES, Scene
from vlm_lens.demo.scenes.canvas import PARTS_PER_OBJECT
from vlm_lens.demo.scenes.vocabulary import merged_part

NOTHING = "nothing"
KIND_LABELS: tuple[str, ...] = (NOTHING, *KINDS, *SURFACES)
COLOR_LABELS: tuple[str, ...] = (NOTHING, *COLORS)
PART_LABELS: tuple[str, ...] = (
    NOTHING,
    *dict.fromkeys(merged_part(part) for parts in PARTS.values() for part in parts),
)
LABEL_SIZES: tuple[int, ...] = (len(KIND_LABELS), len(COLOR_LABELS), len(PART_LABELS))
"""How many kinds, colours and parts a patch can show."""


def resized_pixels(scene: Scene) -> UInt8[np.ndarray, "channel height width"]:
    """The scene at the tower's size, still in 0 to 255."""
    image = Image.fromarray(scene.image)
    resample = Image.Resampling(image_processor().resample)
    resized = np.asarray(image.resize((IMAGE_SIZE, IMAGE_SIZE), resample))
    return rearrange(resized, "height width channel -> channel height width").copy()


@cache
def _normalisation() -> tuple[Float[Tensor, "channel 1 1"], Float[Tensor, "channel 1 1"], float]:
    processor = image_processor()
    mean, std = (
        rearrange(torch.tensor(values), "channel -> channel 1 1")
        for values in (processor.image_mean, processor.image_std)
    )
    return mean, std, processor.rescale_factor


def normalised(
    pixels: UInt8[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch channel height width"]:
    """The pixel values that the processor would give the model."""
    mean, std, factor = _normalisation()
    return (pixels * factor - mean.to(pixels.device)) / std.to(pixels.device)


def patch_shares(scene: Scene) -> UInt8[np.ndarray, "patch label"]:
    """The share of each patch's pixels, in 255ths, that shows each kind, each colour and each part.

    The three tables stand side by side (`LABEL_SIZES`); each sums to about 255.
    """
    n_numbers = 1 + len(scene.objects) + len(scene.surfaces)
    tables = np.zeros((3, n_numbers * PARTS_PER_OBJECT), dtype=np.int64)
    for shown in (*scene.objects, *scene.surfaces):
        rows = slice(shown.number * PARTS_PER_OBJECT, (shown.number + 1) * PARTS_PER_OBJECT)
        tables[0, rows] = KIND_LABELS.index(shown.kind)
        tables[1, rows] = COLOR_LABELS.index(shown.color) if shown.color else 0
        for part_number, part in enumerate(PARTS.get(shown.kind, ()), start=1):
            tables[2, rows.start + part_number] = PART_LABELS.index(merged_part(part))
    shares = []
    patch_of_pixel = _patch_of_pixel(scene.label_map.shape[0])
    for table, n_labels in zip(tables, LABEL_SIZES, strict=True):
        labels = table[scene.label_map]
        counts = np.bincount((patch_of_pixel * n_labels + labels).ravel(), minlength=N_PATCHES * n_labels)
        shares.append(rearrange(counts, "(patch label) -> patch label", patch=N_PATCHES))
    n_pixels = scene.label_map.size // N_PATCHES
    return (np.concatenate(shares, axis=1) * 255 // n_pixels).astype(np.uint8)


@cache
def _patch_of_pixel(size: int) -> np.ndarray:
    row = np.arange(size) * GRID_SIZE // size
    return row[:, None] * GRID_SIZE + row[None, :]


def patch_coverage(mask: np.ndarray) -> Float[np.ndarray, "patch"]:
    """The share of each patch's pixels that a mask of the scene covers."""
    return reduce(
        mask.astype(np.float64),
        "(row height) (column width) -> (row column)",
        "mean",
        row=GRID_SIZE,
        column=GRID_SIZE,
    )
