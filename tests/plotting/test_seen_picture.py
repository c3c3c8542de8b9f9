"""The picture under the grid is the one that the model saw, patch by patch."""

import numpy as np
import pytest
import torch
from PIL import Image

from vlm_lens import HookedVLM
from vlm_lens.errors import PositionError
from vlm_lens.layout import ImageSpan
from vlm_lens.plotting.seen_picture import OUTSIDE, patch_picture, seen_picture


@pytest.fixture(scope="module")
def vlm() -> HookedVLM:
    return HookedVLM.demo()


@pytest.mark.parametrize("size", [(192, 192), (300, 200), (96, 150), (61, 97), (640, 480)])
def test_each_cell_shows_what_its_patch_saw(vlm: HookedVLM, size: tuple[int, int]) -> None:
    """The model's own pixels, brought back to colours, agree with the cell means of the picture."""
    rng = np.random.default_rng(size[0])
    coarse = Image.fromarray(rng.integers(0, 256, size=(7, 9, 3), dtype=np.uint8))
    picture = coarse.resize(size, Image.Resampling.BICUBIC)
    inputs = vlm.prepare(picture, "Describe this image.")
    span = inputs.layout.image_span()
    seen = seen_picture(picture, span)
    processor = vlm.processor.image_processor
    mean, std = torch.tensor(processor.image_mean), torch.tensor(processor.image_std)
    assert inputs.pixel_values is not None
    model = (inputs.pixel_values[0].permute(1, 2, 0) * std + mean) * 255
    n_rows, n_cols = span.grid.shape

    def cell_means(pixels: np.ndarray) -> np.ndarray:
        height, width = pixels.shape[0] // n_rows, pixels.shape[1] // n_cols
        return pixels.reshape(n_rows, height, n_cols, width, 3).mean(axis=(1, 3))

    difference = np.abs(cell_means(seen.astype(float)) - cell_means(model.numpy()))
    assert difference.mean() < 2 and difference.max() < 12


def test_padding_shows_as_outside(vlm: HookedVLM) -> None:
    picture = Image.new("RGB", (200, 100), (250, 0, 0))
    inputs = vlm.prepare(picture, "Describe this image.", pad_to_square=True)
    seen = seen_picture(picture, inputs.layout.image_span())
    assert tuple(seen[2, 50]) == OUTSIDE and tuple(seen[-2, 50]) == OUTSIDE
    assert tuple(seen[len(seen) // 2, 50]) == (250, 0, 0)
    share = (seen == np.array((250, 0, 0))).all(axis=-1).mean()
    assert share == pytest.approx(0.5, abs=0.02)


def test_a_picture_that_is_not_at_hand_is_a_blank_under_its_grid(vlm: HookedVLM) -> None:
    picture = Image.new("RGB", (192, 192), (200, 10, 10))
    layout = vlm.prepare(picture, "Describe this image.").layout
    span, region = layout.image_span(), layout.patches(rows=0)
    blank, seen = patch_picture(span), patch_picture(span, picture, region)
    assert np.unique(blank.pixels).tolist() == [OUTSIDE[0]]
    assert (blank.n_rows, blank.n_cols) == (seen.n_rows, seen.n_cols) == span.grid.shape
    assert np.unique(seen.pixels).tolist() == [10, 200]
    assert seen.region is not None and seen.region.sum() == span.grid.n_cols


def test_a_region_is_outlined_on_its_own_picture_alone(vlm: HookedVLM) -> None:
    red, green = (Image.new("RGB", (192, 192), colour) for colour in ((200, 10, 10), (10, 200, 10)))
    layout = vlm.prepare(red, "Describe this image.").layout
    span, first_row = layout.image_span(), layout.patches(rows=0)
    with pytest.raises(PositionError, match="Region belongs to another picture.*region.on"):
        patch_picture(vlm.prepare(green, "Describe this image.").layout.image_span(), green, first_row)
    with pytest.raises(PositionError, match="expected a Region, got str 'cat'. Make one: layout.region"):
        patch_picture(span, red, "cat")
    # The same picture elsewhere in a sequence has the same patches; where pixels are unknown, the grid has to do.
    later = vlm.prepare(red, "USER: Look here: <image> Describe this image. ASSISTANT:").layout
    assert later.image_span().start != span.start
    for place in (later.image_span(), ImageSpan(0, span.grid)):
        outlined = patch_picture(place, None, first_row).region
        assert outlined is not None and outlined[0].all() and not outlined[1:].any()
