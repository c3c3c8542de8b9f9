"""Labels of patches held against pixels: hand-computed pictures, and naive loops over pixels."""

from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from vlm_lens.data import Annotation, Example
from vlm_lens.experiments.object_parts.known_parts import parts_of_classes
from vlm_lens.experiments.part_segmentation.predictions import (
    overlap_by_chance,
    overlap_of_patches,
    overlap_of_pixels,
    patch_labels,
    shares_of,
)
from vlm_lens.experiments.part_segmentation.truth import (
    BACKGROUND,
    PartLabel,
    Truth,
    candidates_of,
    painted,
)
from vlm_lens.layout import ImageSpan, PatchGrid, PixelGeometry, Window

HEAD, EYE, LEG = PartLabel("cat", "head"), PartLabel("cat", "eye"), PartLabel("dog", "leg")
LABELS = [EYE, HEAD, LEG]


def mask(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


PARTS = {
    "head": mask("####....", "####....", "........", "........"),
    "eye": mask(".#......", "........", "........", "........"),
}
LEGS = {"leg": mask("........", "......##", "......##", "......##")}


def annotation(category: str, parts: Mapping[str, np.ndarray]) -> Annotation:
    whole = np.logical_or.reduce(list(parts.values()))
    return Annotation(category, float(whole.sum()), lambda: whole, lambda: parts)


def example(**objects: Mapping[str, np.ndarray]) -> Example:
    annotations = tuple(annotation(category, parts) for category, parts in objects.items())
    return Example("1", lambda: Image.new("RGB", (8, 4)), (4, 8), annotations)


# The left 6 columns are seen, in patches of 2 x 2: 2 rows of 3.
SPAN = ImageSpan(0, PatchGrid.over(4, 6, 2), PixelGeometry((4, 8), (Window(0, 0, 4, 6),)))
TRUTH = Truth.of(example(cat=PARTS, dog=LEGS), SPAN, LABELS)


def test_of_parts_that_lie_over_each_other_the_smaller_is_seen() -> None:
    found = painted(example(cat=PARTS), LABELS, (4, 8))
    assert found[0].tolist() == [1, 0, 1, 1, -1, -1, -1, -1]
    assert (found == BACKGROUND).sum() == 32 - 8


def test_each_patch_counts_its_pixels_and_what_was_cropped_counts_nowhere() -> None:
    assert TRUTH.counts(6, False).tolist() == [[1, 3, 0, 0], [0, 4, 0, 0], *[[0, 0, 0, 0]] * 4]
    assert TRUTH.counts(6, True)[:, -1].tolist() == [0, 0, 4, 4, 4, 4]
    assert TRUTH.share_unseen == 6 / 14


@pytest.mark.parametrize("counts_background", [False, True])
def test_patches_overlap_as_their_pixels_do_one_by_one(counts_background: bool) -> None:
    predicted = np.array([0, 1, 1, 2, 0, 1])
    found = overlap_of_patches(predicted, TRUTH.counts(6, counts_background))
    naive = {name: [0.0] * 3 for name in ("intersection", "annotated", "predicted")}
    for y in range(4):
        for x in range(6):
            true, said = int(TRUTH.numbers[y, x]), int(predicted[y // 2 * 3 + x // 2])
            if true == BACKGROUND and not counts_background:
                continue
            naive["predicted"][said] += 1
            if true != BACKGROUND:
                naive["annotated"][true] += 1
                naive["intersection"][true] += true == said
    assert {name: values.tolist() for name, values in found.items()} == naive


@pytest.mark.parametrize("counts_background", [False, True])
def test_a_segmenter_that_says_what_the_patches_say_overlaps_as_they_do(counts_background: bool) -> None:
    predicted = np.array([0, 1, 1, 2, 0, 1])
    of_pixels = np.where(TRUTH.patches >= 0, predicted[TRUTH.patches], 2)
    by_pixels = overlap_of_pixels(of_pixels, TRUTH, counts_background)
    by_patches = overlap_of_patches(predicted, TRUTH.counts(6, counts_background))
    assert {k: v.tolist() for k, v in by_pixels.items()} == {k: v.tolist() for k, v in by_patches.items()}


def test_chance_is_the_mean_over_all_ways_to_shuffle_the_labels() -> None:
    counts, predicted = TRUTH.counts(6, True), np.array([0, 1, 1, 2, 0, 1])
    found = overlap_by_chance(shares_of(predicted, counts), counts)
    random = np.random.default_rng(0)
    drawn = [overlap_of_patches(random.permutation(predicted), counts) for _ in range(4000)]
    for name, values in found.items():
        np.testing.assert_allclose(values, np.mean([one[name] for one in drawn], axis=0), atol=0.15)


def test_a_patch_has_its_most_probable_part_of_the_most_probable_class_that_has_it() -> None:
    labels = [PartLabel("cat", "ear"), PartLabel("cat", "leg"), PartLabel("dog", "leg")]
    # Two states of two patches.
    parts = {"ear": np.array([[-1.0, -5], [-9, -9]]), "leg": np.array([[-2.0, -1], [-1, -1]])}
    objects = {"cat": np.array([[-1.0, -1], [-1, -7]]), "dog": np.array([[-3.0, -3], [-3, -3]])}
    assert patch_labels(labels, parts, objects).tolist() == [[0, 1], [1, 2]]
    assert patch_labels(labels, parts, {"dog": objects["dog"]}).tolist() == [[0, 2], [2, 2]]


def test_candidates_are_the_parts_of_the_classes_in_the_picture_or_of_all() -> None:
    parts = parts_of_classes([example(cat=PARTS), example(dog=LEGS)])
    assert parts == {"cat": ["eye", "head"], "dog": ["leg"]}
    assert candidates_of(example(dog=LEGS), parts, "image") == [LEG]
    assert candidates_of(example(dog=LEGS), parts, "all") == LABELS
