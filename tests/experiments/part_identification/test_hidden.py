"""Objects painted over, and captions that name them all the same."""

import numpy as np
import pytest
from PIL import Image

from tests.experiments.described_scenes import context_of
from vlm_lens.errors import InputError
from vlm_lens.experiments.part_identification import PartIdentification, experiment
from vlm_lens.experiments.part_identification.hidden import names_object, without

PIXELS = np.zeros((4, 4, 3), np.uint8)
PIXELS[:2] = 100
MASK = np.zeros((4, 4), bool)
MASK[0, 0] = MASK[1, 1] = True


def test_pixels_are_hidden_one_by_one() -> None:
    found = np.asarray(without(Image.fromarray(PIXELS), MASK, "pixels"))
    mean = round(6 * 100 / 14)
    assert (found[MASK] == mean).all()
    assert (found[~MASK] == PIXELS[~MASK]).all()


def test_a_box_leaves_no_silhouette() -> None:
    found = np.asarray(without(Image.fromarray(PIXELS), MASK, "box"))
    assert (found[:2, :2] == round(4 * 100 / 12)).all()
    assert (found[:2, 2:] == 100).all() and (found[2:] == 0).all()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="4 x 4 pixels"):
        without(Image.fromarray(PIXELS), MASK[:3], "box")


@pytest.mark.parametrize(("caption", "is_named"), [("Two dogs.", True), ("A puppy.", True), ("A hotdog.", False)])
def test_another_word_names_an_object_and_half_a_word_does_not(caption: str, is_named: bool) -> None:
    assert names_object(caption, "dog") == is_named


def test_a_named_object_has_a_row_that_says_so_and_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "caption_without", lambda *_: "A boat is on the left.")
    context = context_of(PartIdentification(), 4, classes="boat", least_share=0.03, settings="none")
    rows = PartIdentification().rows(context, context.data[:1])
    assert [(row["class"], row["is_named_while_hidden"]) for row in rows["targets"]] == [("boat", True)]
    assert not rows["scores"] and not rows["regions"]
