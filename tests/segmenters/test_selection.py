"""Where scores are cut and which masks are left out; masks that the data have."""

import numpy as np
import pytest
from PIL import Image

from vlm_lens.errors import InputError
from vlm_lens.segmenters import GivenMasks, MaskRule, chosen_mask, labels_of, segmenter_named


def scores_with(n_pixels: int, score: float, size: int = 100) -> np.ndarray:
    """A picture of 100 x 100 with some pixels of a score, the rest at 0.1."""
    scores = np.full(size * size, 0.1)
    scores[:n_pixels] = score
    return scores.reshape(size, size)


@pytest.mark.parametrize(
    ("n_pixels", "score", "rejected"),
    [
        (0, 0.9, "empty"),
        (500, 0.5, "empty"),  # not above the threshold
        (9, 0.9, "too small"),
        (10, 0.9, None),
        (8000, 0.9, None),
        (8001, 0.9, "too large"),
        (500, 0.55, "unsure"),
        (500, 0.61, None),
    ],
)
def test_a_mask_is_left_out_for_one_of_four_reasons(n_pixels: int, score: float, rejected: str | None) -> None:
    found = chosen_mask(scores_with(n_pixels, score))
    assert found.rejected == rejected
    if rejected != "empty":
        assert found.share == n_pixels / 10_000 and found.score == pytest.approx(score)
        assert found.mask.sum() == n_pixels


def test_the_bounds_are_options() -> None:
    rule = MaskRule(threshold=0.3, least_share=0.0, largest_share=1.0, least_score=0.0)
    assert chosen_mask(scores_with(1, 0.31), rule).rejected is None
    assert chosen_mask(scores_with(10_000, 0.31), rule).rejected is None


@pytest.mark.parametrize("options", [{"threshold": 1.5}, {"least_score": -0.1}, {"least_share": 0.9}])
def test_bounds_that_cannot_be_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        MaskRule(**options)


def test_each_pixel_has_the_text_of_its_highest_score_or_none() -> None:
    scores = np.array([[[0.9, 0.6, 0.2, 0.5]], [[0.8, 0.7, 0.3, 0.5]]])
    assert labels_of(scores).tolist() == [[0, 1, -1, -1]]
    assert labels_of(scores, threshold=-1.0).tolist() == [[0, 1, 1, 0]]  # of equal scores the first


def test_given_masks_are_found_by_their_name() -> None:
    image, mask = Image.new("RGB", (4, 3)), np.zeros((3, 4), bool)
    mask[1, 2] = True
    found = segmenter_named("given").segment(image, ["the Dog", "dog ", "cat"], {"Dog": mask, "bird": ~mask})
    assert found.shape == (3, 3, 4)
    assert not found[0].any() and (found[1] == mask).all() and not found[2].any()
    assert chosen_mask(found[2]).rejected == "empty" and chosen_mask(found[1]).rejected is None


def test_given_masks_of_another_size_are_refused() -> None:
    image = Image.new("RGB", (4, 3))
    with pytest.raises(InputError, match="the size of the picture, 3 x 4"):
        GivenMasks().segment(image, ["dog"], {"dog": np.zeros((4, 3), bool)})
    with pytest.raises(InputError, match="at least one text"):
        GivenMasks().segment(image, [])
    assert GivenMasks().fingerprint() == GivenMasks().fingerprint()
