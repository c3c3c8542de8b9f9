"""Masks of what a description names: the data's own by meaning, or a text-prompted model's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.segmenters.tiny_clipseg import saved_clipseg
from vlm_lens.data import Annotation, read_scenes
from vlm_lens.experiments.localisation.detail_masks import annotated_masks, masks_of, means_the_same
from vlm_lens.experiments.localisation.named_tokens import phrase_of
from vlm_lens.metrics.judges import Mention, NamedObject
from vlm_lens.segmenters import GivenMasks, MaskRule, segmenter_named

SCENE = read_scenes(1)[0]


def box(top: int, left: int) -> np.ndarray:
    mask = np.zeros(SCENE.size, bool)
    mask[top : top + 20, left : left + 20] = True
    return mask


def annotation(category: str, mask: np.ndarray, **parts: np.ndarray) -> Annotation:
    return Annotation(category, float(mask.sum()), lambda: mask, lambda: parts)


PARK = replace(
    SCENE,
    annotations=(
        annotation("bicycle", box(0, 0), wheel=box(5, 5)),
        annotation("bicycle", box(50, 50), wheel=box(60, 60)),
        annotation("person", box(90, 0)),
    ),
)


def test_all_instances_of_a_kind_are_one_mask_and_so_are_parts() -> None:
    found = annotated_masks(PARK)
    assert list(found) == ["bicycle", "wheel", "person"]
    np.testing.assert_array_equal(found["bicycle"], box(0, 0) | box(50, 50))
    np.testing.assert_array_equal(found["wheel"], box(5, 5) | box(60, 60))


def test_a_detail_has_the_masks_of_what_means_the_same() -> None:
    details = [NamedObject(name) for name in ("bike", "wheel", "woman", "dog")]
    bike, wheel, woman, dog = masks_of(PARK, details, GivenMasks(), MaskRule())
    np.testing.assert_array_equal(bike.mask, box(0, 0) | box(50, 50))
    np.testing.assert_array_equal(wheel.mask, box(5, 5) | box(60, 60))
    np.testing.assert_array_equal(woman.mask, box(90, 0))
    assert [one.rejected for one in (bike, wheel, woman, dog)] == [None, None, None, "empty"]


@pytest.mark.parametrize(
    ("rule", "told"), [(MaskRule(least_share=0.05), "too small"), (MaskRule(largest_share=0.01), "too large")]
)
def test_masks_are_left_out_by_the_rule(rule: MaskRule, told: str) -> None:
    (found,) = masks_of(PARK, [NamedObject("woman")], GivenMasks(), rule)
    assert found.rejected == told


def test_a_text_prompted_model_is_asked_in_the_words_of_the_description(tmp_path: Path) -> None:
    segmenter = segmenter_named(f"clipseg:{saved_clipseg(tmp_path / 'clipseg')}")
    detail = NamedObject("snout", (Mention("muzzle", 4, 10),))
    (found,) = masks_of(PARK, [detail], segmenter, MaskRule(0.5, 0.0, 1.0, 0.0))
    np.testing.assert_array_equal(found.mask, segmenter.segment(PARK.image, ["muzzle"])[0] > 0.5)
    assert phrase_of(detail) == "muzzle" and phrase_of(NamedObject("snout")) == "snout"


def test_names_mean_the_same_by_themselves_and_by_the_list_of_synonyms() -> None:
    assert means_the_same("Frisbees of doom", "frisbees of doom") and means_the_same("sofa", "couch")
    assert not means_the_same("dog", "hot dog") and masks_of(PARK, [], GivenMasks(), MaskRule()) == []
