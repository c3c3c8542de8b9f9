"""Training sees the pixels that the processor would give, and patches know what they show."""

from random import Random

import numpy as np
import torch

from vlm_lens.demo.architecture import image_processor
from vlm_lens.demo.scenes import draw_scene, merged_part
from vlm_lens.demo.training.pictures import (
    COLOR_LABELS,
    KIND_LABELS,
    LABEL_SIZES,
    PART_LABELS,
    normalised,
    patch_coverage,
    patch_shares,
    resized_pixels,
)


def test_training_pixels_are_the_processors() -> None:
    scenes = [draw_scene(seed) for seed in range(4)]
    own = normalised(torch.from_numpy(np.stack([resized_pixels(scene) for scene in scenes])))
    theirs = image_processor()([scene.image for scene in scenes], return_tensors="pt")
    torch.testing.assert_close(own, theirs["pixel_values"], rtol=0, atol=1e-6)


def test_patch_shares_equal_a_count_of_mask_pixels() -> None:
    scene = draw_scene(3, require_surface=True)
    kinds, colors, parts = np.split(patch_shares(scene), np.cumsum(LABEL_SIZES)[:-1], axis=1)
    random = Random(0)
    for patch in random.sample(range(144), 60):
        row, column = divmod(patch, 12)
        window = np.s_[row * 16 : (row + 1) * 16, column * 16 : (column + 1) * 16]
        for shown in (*scene.objects, *scene.surfaces):
            n_pixels = int(shown.mask[window].sum())
            assert kinds[patch, KIND_LABELS.index(shown.kind)] >= n_pixels * 255 // 256
            if shown.color:
                assert colors[patch, COLOR_LABELS.index(shown.color)] >= n_pixels * 255 // 256
            for part, mask in shown.parts.items():
                label = PART_LABELS.index(merged_part(part))
                assert parts[patch, label] >= int(mask[window].sum()) * 255 // 256
        n_pixels = sum(int(s.mask[window].sum()) for s in (*scene.objects, *scene.surfaces))
        assert kinds[patch, 0] == (256 - n_pixels) * 255 // 256


def test_patch_coverage_is_the_mean_of_the_mask_in_each_patch() -> None:
    mask = np.zeros((192, 192), dtype=bool)
    mask[16:24, 32:48] = True
    coverage = patch_coverage(mask)
    assert coverage[12 + 2] == 0.5
    assert coverage.sum() == 0.5
